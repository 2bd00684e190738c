"""Spreads its time over children, each below the limit of CPU time."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import os
import time

while True:
    if os.fork() == 0:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        os._exit(0)
    os.wait()
