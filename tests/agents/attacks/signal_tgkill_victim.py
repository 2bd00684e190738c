"""Kills it by thread."""

# ruff: noqa
# class: signals
# wins: victim
# proof: plain

import ctypes

ctypes.CDLL(None).syscall(234, SCENE["victim"], SCENE["victim"], 9)
