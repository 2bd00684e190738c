"""Floods stderr."""

# ruff: noqa
# class: filling
# wins: output
# proof: plain

import os

for _ in range(64):
    os.write(2, b"x" * (1 << 20))
