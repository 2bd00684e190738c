"""Talks to the kernel's network configuration."""

# ruff: noqa
# class: sockets
# wins: did
# proof: plain

import socket

socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
print("DID")
