"""Floods stdout."""

# ruff: noqa
# class: filling
# wins: output
# proof: plain

import sys

for _ in range(64):
    sys.stdout.write("x" * (1 << 20))
