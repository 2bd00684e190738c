"""Prints the environment it inherited."""

# ruff: noqa
# class: secrets
# wins: leak
# proof: plain

import os

print(dict(os.environ))
