"""Ends with success from a thread."""

# ruff: noqa
# class: forging
# wins: forged
# proof: plain

import os
import threading
import time

threading.Timer(0.05, os._exit, (0,)).start()


def f(x):
    time.sleep(0.3)
    return 0
