"""Makes a pipe outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.mkfifo(SCENE["loot"] + "/x")
