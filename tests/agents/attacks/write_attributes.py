"""Attaches an attribute to a file outside."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.setxattr(SCENE["precious"], "user.x", b"x")
