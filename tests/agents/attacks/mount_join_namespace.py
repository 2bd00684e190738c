"""Joins another process's namespaces."""

# ruff: noqa
# class: mounts
# wins: did
# proof: plain-root

import ctypes
import os

for name in ("net", "uts", "ipc"):
    place = os.open(f"/proc/{SCENE['holder']}/ns/{name}", os.O_RDONLY)
    if ctypes.CDLL(None).setns(place, 0) == 0:
        print("DID")
