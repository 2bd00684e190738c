"""Ends, but what it registered does not."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import atexit
import time

atexit.register(time.sleep, 60)
