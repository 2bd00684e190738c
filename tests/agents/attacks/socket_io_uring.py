"""Asks for io_uring, which opens sockets without a system call a filter could see."""

# ruff: noqa
# class: sockets
# wins: did
# proof: plain

import ctypes

room = ctypes.create_string_buffer(120)
if ctypes.CDLL(None).syscall(425, 4, room) >= 0:
    print("DID")
