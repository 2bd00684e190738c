"""Connects to a socket in the file system."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import socket

link = socket.socket(socket.AF_UNIX)
link.connect(SCENE["unix"])
link.sendall(b"hello")
