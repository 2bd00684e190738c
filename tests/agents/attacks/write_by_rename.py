"""Moves a file of its own outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

open("x", "w").write("x")
os.rename("x", SCENE["loot"] + "/x")
