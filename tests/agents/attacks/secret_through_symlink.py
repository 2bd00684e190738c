"""Leaves a symbolic link to the secret, hoping that whoever collects its files follows it."""

# ruff: noqa
# class: secrets
# wins: leak-folder
# proof: plain

import os

os.symlink(SCENE["secret"], "result.txt")
