"""Searches its own memory for what a fork would have left there."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import re

with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
    for line in maps:
        low, high, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
        if mode.startswith("rw"):
            memory.seek(int(low, 16))
            try:
                body = memory.read(int(high, 16) - int(low, 16))
            except OSError:
                continue
            for found in re.finditer(SCENE["hint"].encode() + rb"\w{8,}", body):
                print(found[0])
