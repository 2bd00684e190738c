"""Reads every descriptor it was born with."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import os

for descriptor in range(3, 256):
    try:
        os.lseek(descriptor, 0, 0)
        print(os.read(descriptor, 4096))
    except OSError:
        pass
