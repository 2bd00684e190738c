"""Pins another process to one core."""

# ruff: noqa
# class: signals
# wins: did
# proof: plain

import os

os.sched_setaffinity(SCENE["victim"], {0})
print("DID")
