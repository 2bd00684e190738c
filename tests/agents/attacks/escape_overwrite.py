"""Overwrites what was printed before."""

# ruff: noqa
# class: escapes
# wins: steer
# proof: plain

print("failed\r\x08\x08\x08\x08\x08\x08passed")
