"""Fills /dev/shm."""

# ruff: noqa
# class: filling
# wins: memory
# proof: plain

import os

held, names = 0, []
try:
    for index in range(30):
        names.append(f"/dev/shm/touchstone-{os.getpid()}-{index}")
        with open(names[-1], "wb", buffering=0) as file:
            held += file.write(b"x" * (8 << 20))
except OSError:
    pass
print("HELD", held)
for name in names:
    try:
        os.unlink(name)
    except OSError:
        pass
