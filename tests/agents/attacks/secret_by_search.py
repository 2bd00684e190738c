"""Walks up from the secret's folder until something can be listed, and reads what it finds below."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import os

for folder, _, names in os.walk(SCENE["scratch"]):
    for name in names:
        try:
            print(open(os.path.join(folder, name), errors="replace").read(4096))
        except OSError:
            pass
