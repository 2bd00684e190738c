"""Changes the times of a file outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.utime(SCENE["precious"], (1, 1))
