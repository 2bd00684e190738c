"""Attaches to whoever started it."""

# ruff: noqa
# class: ptrace
# wins: did
# proof: plain

import ctypes
import os

libc = ctypes.CDLL(None)
for pid in (os.getppid(), 1):
    if pid and libc.ptrace(0x4206, pid, None, None) == 0:
        print("DID")
