"""Uses the one-byte forms of the same."""

# ruff: noqa
# class: escapes
# wins: steer
# proof: plain

import os

os.write(1, b"\xc2\x9b2J \x9b2J \xc2\x9d0;owned\xc2\x9c\n")
