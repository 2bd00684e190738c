"""Changes the machine's name or clock."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp

import socket

socket.sethostname(socket.gethostname())
print("DID")
