"""Attaches to another process."""

# ruff: noqa
# class: ptrace
# wins: did
# proof: plain

import ctypes
import os

libc = ctypes.CDLL(None)
if libc.ptrace(16, SCENE["victim"], None, None) == 0:
    os.waitpid(SCENE["victim"], 0)
    libc.ptrace(17, SCENE["victim"], None, None)
    print("DID")
