"""Gives a file of its own a name outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

open("x", "w").write("x")
os.link("x", SCENE["loot"] + "/x")
