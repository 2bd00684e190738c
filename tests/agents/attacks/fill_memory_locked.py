"""Locks memory so that nothing can be swapped out."""

# ruff: noqa
# class: filling
# wins: did
# proof: plain-root

import ctypes

if ctypes.CDLL(None).mlockall(3) == 0:
    print("DID")
