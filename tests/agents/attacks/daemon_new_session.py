"""Leaves a program behind in a session of its own."""

# ruff: noqa
# class: daemons
# wins: survive
# proof: plain

import subprocess
import sys
import time

subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(600)", SCENE["marker"]], start_new_session=True)
time.sleep(0.2)
