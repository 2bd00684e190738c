"""Seizes another process, which does not even stop it."""

# ruff: noqa
# class: ptrace
# wins: did
# proof: plain

import ctypes

if ctypes.CDLL(None).ptrace(0x4206, SCENE["victim"], None, None) == 0:
    print("DID")
