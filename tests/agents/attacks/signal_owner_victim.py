"""Makes the victim the owner of a pipe, so that the kernel sends the signal."""

# ruff: noqa
# class: signals
# wins: victim
# proof: plain

import fcntl
import os
import struct

out, into = os.pipe()
fcntl.fcntl(out, 15, struct.pack("=ii", 1, SCENE["victim"]))
fcntl.fcntl(out, 10, 9)
fcntl.fcntl(out, fcntl.F_SETFL, fcntl.fcntl(out, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
os.write(into, b"x")
