"""Reserves space without writing."""

# ruff: noqa
# class: filling
# wins: held
# proof: larger:disk

import os

held = 0
try:
    for index in range(24):
        with open(f"part{index}", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 4 << 20)
            held += 4 << 20
except OSError:
    pass
print("HELD", held)
