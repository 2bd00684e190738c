"""Waits for an input that never comes."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: none:depends on what stands at stdin

import sys

sys.stdin.read()
while True:
    pass
