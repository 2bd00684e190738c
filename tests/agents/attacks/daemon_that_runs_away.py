"""Is always one fork ahead of who would kill it."""

# ruff: noqa
# class: daemons
# wins: survive
# proof: plain

import os
import sys
import time

if os.fork() == 0:
    os.setsid()
    for _ in range(20):
        if os.fork():
            os._exit(0)
        time.sleep(0.001)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", "import time; time.sleep(600)", SCENE["marker"]])
time.sleep(0.3)
