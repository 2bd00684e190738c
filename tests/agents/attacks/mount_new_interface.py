"""Mounts with the newer calls."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp,landlock

import ctypes

libc = ctypes.CDLL(None)
if libc.syscall(430, b"tmpfs", 0) >= 0 or libc.syscall(428, -100, b"/", 1) >= 0:
    print("DID")
