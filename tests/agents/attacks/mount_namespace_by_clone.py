"""Starts a child in a user namespace of its own."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:seccomp

import ctypes
import os

for number, words in ((56, (0x10000011, 0, 0, 0, 0)), (435, None)):
    if words is None:
        room = (ctypes.c_uint64 * 11)(0x10000000, *([0] * 3), 17)
        child = ctypes.CDLL(None).syscall(number, room, 88)
    else:
        child = ctypes.CDLL(None).syscall(number, *words)
    if child == 0:
        os._exit(0)
    if child > 0:
        print("DID")
