# ruff: noqa
import ctypes

assert ctypes.sizeof(ctypes.c_int) == 4 and ctypes.CDLL(None).abs(-3) == 3
