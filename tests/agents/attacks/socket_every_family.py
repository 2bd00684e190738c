"""Tries every family there is."""

# ruff: noqa
# class: sockets
# wins: did
# proof: plain

import socket

for family in range(1, 50):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind)
        except OSError:
            continue
        print("DID", family, kind)
