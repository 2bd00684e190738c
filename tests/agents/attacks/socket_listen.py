"""Opens a door for others."""

# ruff: noqa
# class: sockets
# wins: did
# proof: plain

import socket

door = socket.socket()
door.bind(("127.0.0.1", 0))
door.listen()
print("DID")
