"""Puts something into the user's keyring, which outlives it."""

# ruff: noqa
# class: mounts
# wins: did
# proof: plain

import ctypes

libc = ctypes.CDLL(None)
if libc.syscall(248, b"user", b"touchstone", b"x", 1, -2) >= 0 or libc.syscall(250, 0, -3, 0) >= 0:
    print("DID")
