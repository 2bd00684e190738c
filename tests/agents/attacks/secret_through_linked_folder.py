"""Leaves a link to the folder that holds the secret."""

# ruff: noqa
# class: secrets
# wins: leak-folder
# proof: plain

import os

os.symlink(os.path.dirname(SCENE["secret"]), "results")
