"""Closes its outputs and sleeps, for whoever waits for their end."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import os
import time

os.close(1)
os.close(2)
time.sleep(60)
