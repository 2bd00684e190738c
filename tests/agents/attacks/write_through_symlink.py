"""Writes through a symbolic link in its own folder."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.symlink(SCENE["loot"], "out")
open("out/x", "w").write("x")
