"""Appends to a file that exists already."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

open(SCENE["precious"], "a").write("x")
