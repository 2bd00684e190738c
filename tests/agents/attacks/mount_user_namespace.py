"""Becomes root in a user namespace of its own."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:seccomp

import ctypes

if ctypes.CDLL(None).unshare(0x10000000) == 0:
    print("DID")
