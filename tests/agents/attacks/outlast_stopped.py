"""Stops itself, so that no signal but one wakes it."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import os
import signal

os.kill(os.getpid(), signal.SIGSTOP)
while True:
    pass
