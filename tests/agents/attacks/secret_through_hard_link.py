"""Gives the secret a second name in its own folder."""

# ruff: noqa
# class: secrets
# wins: leak-folder
# proof: plain

import os

os.link(SCENE["secret"], "result.txt")
