"""Reads the environment of the caller from /proc."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

print(open(f"/proc/{SCENE['holder']}/environ", "rb").read())
