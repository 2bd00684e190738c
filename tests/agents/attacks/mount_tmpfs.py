"""Mounts a file system."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp,landlock

import ctypes
import os

os.mkdir("m")
if ctypes.CDLL(None).mount(b"x", b"m", b"tmpfs", 0, None) == 0:
    print("DID")
