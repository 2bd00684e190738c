"""Ends, but a thread does not."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import threading
import time

threading.Thread(target=time.sleep, args=(60,)).start()
