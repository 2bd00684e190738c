"""Reads a secret file by its absolute path."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

print(open(SCENE["secret"]).read())
