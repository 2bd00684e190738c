"""Deletes a file outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.unlink(SCENE["precious"])
