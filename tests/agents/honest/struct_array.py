# ruff: noqa
import struct, array

assert struct.unpack("<I", struct.pack("<I", 7)) == (7,) and sum(array.array("i", [1, 2])) == 3
