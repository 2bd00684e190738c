"""Makes empty folders inside each other and beside each other."""

# ruff: noqa
# class: filling
# wins: count
# proof: larger:files

import os

held = 0
try:
    for index in range(4000):
        os.mkdir(f"d{index}")
        held += 1
except OSError:
    pass
print("HELD", held)
