"""Connects to a socket without a file."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import socket

link = socket.socket(socket.AF_UNIX)
link.connect("\0" + SCENE["abstract"])
link.sendall(b"hello")
