"""Empties a file outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.truncate(SCENE["precious"], 0)
