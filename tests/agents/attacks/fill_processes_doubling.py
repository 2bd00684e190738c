"""Every child forks again, as a fork bomb does; at most 64 of them."""

# ruff: noqa
# class: bombs
# wins: tasks
# proof: larger:processes,memory

import os
import time

out, into = os.pipe()
for _ in range(6):
    try:
        if os.fork() == 0:
            os.write(into, b"x")
    except OSError:
        pass
time.sleep(0.5)
os.close(into)
print("HELD", len(os.read(out, 4096)), flush=True)
