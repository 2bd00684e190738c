"""Listens to every packet."""

# ruff: noqa
# class: sockets
# wins: did
# proof: plain-root

import socket

socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
print("DID")
