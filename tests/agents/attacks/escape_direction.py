"""Reverses the reading direction and hides text."""

# ruff: noqa
# class: escapes
# wins: steer
# proof: plain

print("\u202edessap\u202c \u2066\u200b\u2069 \U000e0041")
