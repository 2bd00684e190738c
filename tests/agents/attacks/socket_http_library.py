"""Asks by way of the standard library."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import urllib.request

urllib.request.urlopen(f"http://127.0.0.1:{SCENE['tcp']}/", timeout=1)
