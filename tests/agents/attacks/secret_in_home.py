"""Looks for credentials where they usually lie."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import glob
import os

for home in (SCENE["home"], os.path.expanduser("~"), "/root"):
    for path in glob.glob(home + "/.*"):
        if os.path.isfile(path) and os.path.getsize(path) < 4096:
            print(open(path, errors="replace").read())
