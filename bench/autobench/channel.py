"""The result channel: lines on an inherited socket, each signed with a key made for one measurement.

The kernel says which process wrote each line, and the key tells a line of `Sender` from whatever else the worker writes to
every descriptor it finds. Bytes that do not verify, and any byte of another process, are a fault that costs the measurement its result.
Candidate code in the worker itself can find the key in its own memory and send one result that verifies: no code in the same process
can prevent that. Such a result must still pass what the orchestrator asks of every result (`measure.vetted`), and must be the only one.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

LONGEST = 64 << 20
"""Bytes of one message; more is a fault."""
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of who wrote, as the kernel tells them."""


def _sign(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256").hex().encode()


class Sender:
    """The worker's end. Only the process that made it can send."""

    def __init__(self, descriptor: int, key: bytes) -> None:
        self._descriptor, self._key, self._owner = descriptor, key, os.getpid()
        self._lock = threading.Lock()

    def send(self, kind: str, body: Any) -> None:
        """Write one message; ValueError or TypeError when `body` is not plain JSON."""
        if os.getpid() != self._owner:
            raise PermissionError("a forked child of the measurement may not speak for it")
        text = json.dumps([kind, body], separators=(",", ":")).encode()
        line = memoryview(_sign(self._key, text) + b" " + text + b"\n")
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]


def channel() -> tuple[socket.socket, socket.socket]:
    """(receiver's end, sender's end); on the first the kernel notes who wrote what."""
    ours, theirs = socket.socketpair()
    if hasattr(socket, "SO_PASSCRED"):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ours.setblocking(False)
    return ours, theirs


class Receiver:
    """The guard's end: verifies lines that process `speaker` wrote, and remembers the first fault."""

    def __init__(self, link: socket.socket, key: bytes, speaker: int) -> None:
        self.link, self._key, self._speaker, self._rest = link, key, speaker, bytearray()
        self.open = True
        self.fault = ""

    def messages(self) -> Iterator[tuple[str, Any]]:
        """(kind, body) of each verified line that has arrived, without blocking."""
        while self.open:
            try:
                chunk, credentials, _, _ = self.link.recvmsg(1 << 16, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            self.open = bool(chunk)
            if chunk and credentials and (writer := _CREDENTIALS.unpack(credentials[0][2])[0]) != self._speaker:
                self.fault = self.fault or f"{len(chunk)} bytes on the result channel are of process {writer}, not of the worker"
                continue
            *lines, tail = chunk.split(b"\n")
            for line in lines:
                yield from self._verified(bytes(self._rest) + line)
                self._rest.clear()
            self._rest += tail
            if len(self._rest) > LONGEST:
                self.fault = self.fault or f"a message on the result channel is longer than {LONGEST >> 20} MiB"
                self.open = False
        if self._rest:
            self.fault = self.fault or f"{len(self._rest)} bytes on the result channel are not a signed message"

    def _verified(self, line: bytes) -> Iterator[tuple[str, Any]]:
        signature, _, text = line.partition(b" ")
        if hmac.compare_digest(signature, _sign(self._key, text)):
            try:
                kind, body = json.loads(text)
            except (RecursionError, ValueError) as error:
                self.fault = self.fault or f"a message on the result channel cannot be read: {error}"
                return
            yield kind, body
        else:
            self.fault = self.fault or f"{len(line)} bytes on the result channel are not a signed message"
