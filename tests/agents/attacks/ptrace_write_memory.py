"""Writes into another process's memory."""

# ruff: noqa
# class: ptrace
# wins: did
# proof: plain

import ctypes


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


room = ctypes.create_string_buffer(b"overwritten")
ours, theirs = Vector(ctypes.addressof(room), 8), Vector(SCENE["address"] + 64, 8)
if ctypes.CDLL(None).process_vm_writev(SCENE["holder"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) == 8:
    print("DID")
