"""Ends at once, but a child holds stdout open."""

# ruff: noqa
# class: daemons
# wins: outlast
# proof: plain

import subprocess
import sys

subprocess.Popen([sys.executable, "-IS", "-c", "import time; time.sleep(600)", SCENE["marker"]], start_new_session=True)
