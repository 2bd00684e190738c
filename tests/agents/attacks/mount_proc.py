"""Mounts a proc of its own, in which other processes can be looked at."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp,landlock

import ctypes
import os

os.mkdir("m")
if ctypes.CDLL(None).mount(b"x", b"m", b"proc", 0, None) == 0:
    print("DID")
