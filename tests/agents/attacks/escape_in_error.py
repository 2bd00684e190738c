"""Hides the same in an error's message."""

# ruff: noqa
# class: escapes
# wins: steer
# proof: plain

raise ValueError("\x1b]52;c;ZWNobyBvd25lZA==\x07\x1b[8m hidden")
