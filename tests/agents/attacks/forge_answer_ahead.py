"""Answers calls before they are asked, with frames of its own making."""

# ruff: noqa
# class: forging
# wins: forged
# proof: none:there is no channel in a plain run

import json
import os
import struct

body = json.dumps({"value": True, "passed": True, "why": ""}).encode()


def f(x):
    for descriptor in range(3, 256):
        try:
            os.set_blocking(descriptor, False)
            os.write(descriptor, (struct.pack("=I", len(body)) + body) * 3)
        except OSError:
            continue
    return 0
