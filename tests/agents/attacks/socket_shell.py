"""Asks by way of a shell."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import os

os.system(f"bash -c 'echo hello > /dev/tcp/127.0.0.1/{SCENE['tcp']}'")
