"""Leaves a child that ignores every signal it can."""

# ruff: noqa
# class: daemons
# wins: survive
# proof: plain

import os
import signal
import sys
import time

if os.fork() == 0:
    os.setsid()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", "import time; time.sleep(600)", SCENE["marker"]])
time.sleep(0.2)
