"""Leaves what it wrote in pairs of sockets, where no process has it, in several children."""

# ruff: noqa
# class: filling
# wins: memory
# proof: larger:memory

import os
import socket
import time

out, into = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        held, pairs = 0, []
        try:
            while True:
                pairs.append(socket.socketpair())
                for one in pairs[-1]:
                    one.setblocking(False)
                    try:
                        while True:
                            held += one.send(b"x" * 65536)
                    except BlockingIOError:
                        pass
        except OSError:
            pass
        os.write(into, held.to_bytes(8, "little"))
        time.sleep(3)
        os._exit(0)
held = 0
for _ in range(8):
    held += int.from_bytes(os.read(out, 8), "little")
    print("HELD", held, flush=True)
time.sleep(1)
