"""Writes a file outside its folder."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

open(SCENE["loot"] + "/x", "w").write("x")
