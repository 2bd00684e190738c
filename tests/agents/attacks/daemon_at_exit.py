"""Forks when it is told to end."""

# ruff: noqa
# class: daemons
# wins: survive
# proof: plain

import atexit
import os
import sys


def leave():
    if os.fork() == 0:
        os.setsid()
        os.execv(sys.executable, [sys.executable, "-IS", "-c", "import time; time.sleep(600)", SCENE["marker"]])


atexit.register(leave)
