"""Slows another process down."""

# ruff: noqa
# class: signals
# wins: did
# proof: plain

import os

os.setpriority(os.PRIO_PROCESS, SCENE["victim"], 19)
print("DID")
