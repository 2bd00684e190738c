"""Writes through another process's view of the file system."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain-root

open(f"/proc/{SCENE['holder']}/root{SCENE['loot']}/x", "w").write("x")
