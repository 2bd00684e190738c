"""Forks until something stops it; at most 80, so that it is no bomb for the machine."""

# ruff: noqa
# class: bombs
# wins: tasks
# proof: larger:processes,memory

import os
import time

held = 0
try:
    for _ in range(80):
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        held += 1
except OSError:
    pass
print("HELD", held, flush=True)
