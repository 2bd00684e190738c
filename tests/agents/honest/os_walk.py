# ruff: noqa
import os

os.makedirs("x/y")
assert [d for d, _, _ in os.walk("x")] == ["x", "x/y"] and os.stat("x").st_size >= 0 and os.access("x", os.W_OK)
