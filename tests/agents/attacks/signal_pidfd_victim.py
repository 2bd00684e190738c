"""Kills it through a pidfd."""

# ruff: noqa
# class: signals
# wins: victim
# proof: plain

import os
import signal

signal.pidfd_send_signal(os.pidfd_open(SCENE["victim"]), signal.SIGKILL)
