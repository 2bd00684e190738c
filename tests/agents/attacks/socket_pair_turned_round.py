"""Makes a pair of datagram sockets, and sends from it to somebody else."""

# ruff: noqa
# class: sockets
# wins: reach
# proof: plain

import socket

here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
here.sendto(b"hello", SCENE["datagrams"])
