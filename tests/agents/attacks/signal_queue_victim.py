"""Kills it with a queued signal."""

# ruff: noqa
# class: signals
# wins: victim
# proof: plain

import ctypes
import struct

body = ctypes.create_string_buffer(struct.pack("=iii", 15, 0, -1) + b"\0" * 116)
ctypes.CDLL(None).syscall(129, SCENE["victim"], 15, body)
