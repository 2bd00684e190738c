"""Ends with success inside the function under test."""

# ruff: noqa
# class: forging
# wins: forged
# proof: plain

import os


def f(x):
    os._exit(0)
