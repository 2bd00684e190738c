"""Spreads the memory over children, each below the limit of one."""

# ruff: noqa
# class: filling
# wins: memory
# proof: larger:memory

import os
import time

for index in range(6):
    if os.fork() == 0:
        block = bytearray(b"x" * (40 << 20))
        time.sleep(2)
        os._exit(0)
time.sleep(1)
print("HELD", 6 * (40 << 20), flush=True)
