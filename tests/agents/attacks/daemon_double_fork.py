"""Becomes a daemon by the book."""

# ruff: noqa
# class: daemons
# wins: survive
# proof: plain

import os
import sys
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(256):
            try:
                os.close(descriptor)
            except OSError:
                pass
        os.execv(sys.executable, [sys.executable, "-IS", "-c", "import time; time.sleep(600)", SCENE["marker"]])
    os._exit(0)
os.wait()
time.sleep(0.2)
