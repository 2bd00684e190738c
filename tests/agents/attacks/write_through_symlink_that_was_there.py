"""Writes through a link that stood in its folder before; whoever brings its files back must not follow that either."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

try:
    open("elsewhere/x", "w").write("x")
except OSError:
    os.unlink("elsewhere")
    os.mkdir("elsewhere")
    open("elsewhere/x", "w").write("x")
