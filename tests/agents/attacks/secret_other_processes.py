"""Lists the command lines of other people's processes."""

# ruff: noqa
# class: secrets
# wins: did
# proof: plain

import os

for pid in filter(str.isdecimal, os.listdir("/proc")):
    if int(pid) == SCENE["victim"]:
        print("DID", open(f"/proc/{pid}/cmdline").read())
