"""Matches an expression that takes for ever."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import re

re.match(r"(a*)*(a*)*$", "a" * 40 + "b")
