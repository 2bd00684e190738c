"""Starts programs until something stops it; at most 80."""

# ruff: noqa
# class: bombs
# wins: tasks
# proof: larger:processes,memory

import subprocess
import sys

held = []
try:
    for _ in range(80):
        held.append(subprocess.Popen([sys.executable, "-S", "-I", "-c", "import time; time.sleep(2)"]))
except OSError:
    pass
print("HELD", len(held), flush=True)
