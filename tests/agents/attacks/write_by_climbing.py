"""Climbs out with `..`."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

open(os.path.relpath(SCENE["loot"] + "/x", os.getcwd()), "w").write("x")
