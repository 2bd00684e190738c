"""Starts threads until something stops it; at most 80."""

# ruff: noqa
# class: bombs
# wins: tasks
# proof: larger:processes,memory

import threading

held = 0
stop = threading.Event()
threading.stack_size(64 << 10)
try:
    for _ in range(80):
        threading.Thread(target=stop.wait, daemon=True).start()
        held += 1
except RuntimeError:
    pass
print("HELD", held, flush=True)
stop.set()
