"""Fills System V shared memory, which no process has to map and which outlives them all."""

# ruff: noqa
# class: filling
# wins: memory
# proof: plain

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
held = 0
for _ in range(30):
    block = libc.shmget(0, ctypes.c_size_t(8 << 20), 0o600)
    if block < 0:
        break
    address = libc.shmat(block, None, 0)
    if address not in (None, ctypes.c_void_p(-1).value):
        ctypes.memset(address, 1, 8 << 20)
        held += 8 << 20
    libc.shmctl(block, 0, None)
print("HELD", held)
