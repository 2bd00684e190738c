"""Claims a huge file with a hole, for whoever copies it."""

# ruff: noqa
# class: filling
# wins: held
# proof: larger:disk

import os

held = 0
with open("hole", "wb") as file:
    for size in (1 << 24, 1 << 26, 96 << 20):
        try:
            os.ftruncate(file.fileno(), size)
            held = size
        except OSError:
            break
print("HELD", held)
