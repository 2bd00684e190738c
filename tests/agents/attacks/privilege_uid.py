"""Becomes root again."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp

import os

try:
    os.setuid(1)
except OSError:
    os.setresuid(0, 0, 0)
print("DID")
