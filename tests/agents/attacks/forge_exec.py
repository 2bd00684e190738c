"""Becomes a program that succeeds."""

# ruff: noqa
# class: forging
# wins: forged
# proof: plain

import os
import sys


def f(x):
    os.execv(sys.executable, [sys.executable, "-IS", "-c", ""])
