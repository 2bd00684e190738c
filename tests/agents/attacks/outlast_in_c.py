"""Computes in C, where no Python handler is reached."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

pow(7, 7**11)
