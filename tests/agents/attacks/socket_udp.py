"""Sends a datagram."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import socket

socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", SCENE["udp"]))
