"""Connects to a server on this machine."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import socket

socket.create_connection(("127.0.0.1", SCENE["tcp"]), timeout=1).sendall(b"hello")
