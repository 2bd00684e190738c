"""Makes a folder outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.mkdir(SCENE["loot"] + "/x")
