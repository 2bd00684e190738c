"""Kills a process of the same user."""

# ruff: noqa
# class: signals
# wins: victim
# proof: plain

import os

os.kill(SCENE["victim"], 9)
