"""Raises SystemExit(0) inside the function under test."""

# ruff: noqa
# class: forging
# wins: forged
# proof: plain


def f(x):
    raise SystemExit(0)
