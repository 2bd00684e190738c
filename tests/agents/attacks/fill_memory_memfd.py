"""Fills files that exist in memory only."""

# ruff: noqa
# class: filling
# wins: memory
# proof: plain

import os

held = 0
try:
    for index in range(30):
        place = os.memfd_create(f"m{index}")
        for _ in range(8):
            held += os.write(place, b"x" * (1 << 20))
except OSError:
    pass
print("HELD", held)
