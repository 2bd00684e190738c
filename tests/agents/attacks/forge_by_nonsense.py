"""Answers with data so deep or so large that the judge might break."""

# ruff: noqa
# class: forging
# wins: forged
# proof: none:there is no channel in a plain run

import os
import struct


def f(x):
    for descriptor in range(3, 256):
        try:
            os.set_blocking(descriptor, False)
            os.write(descriptor, struct.pack("=I", 0x7FFFFFFF) + b"[" * 65536)
        except OSError:
            continue
    return 0
