"""Fills the kernel's memory through large pipes."""

# ruff: noqa
# class: filling
# wins: memory
# proof: plain-root

import fcntl
import os

held = 0
try:
    for _ in range(200):
        out, into = os.pipe()
        fcntl.fcntl(into, 1031, 1 << 20)
        os.set_blocking(into, False)
        held += os.write(into, b"x" * (1 << 20))
except OSError:
    pass
print("HELD", held)
