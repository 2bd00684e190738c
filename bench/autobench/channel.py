"""The result channel: lines on an inherited descriptor, each signed with a key made for one measurement.

A candidate that prints to stdout or writes to every descriptor it finds cannot make a line that verifies, and a line
that does not verify is a fault that costs the measurement its result. Code in the worker's own memory could still dig the
key out and send one result before it exits: a second result is a fault, a single forged one is not found yet (docs/LOG.md).
"""

from __future__ import annotations

import hmac
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

LONGEST = 64 << 20
"""Bytes of one message; more is a fault."""


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


class Receiver:
    """The guard's end: verifies lines, and remembers the first fault."""

    def __init__(self, descriptor: int, key: bytes) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._key, self._rest = descriptor, key, bytearray()
        self.open = True
        self.fault = ""

    def messages(self) -> Iterator[tuple[str, Any]]:
        """(kind, body) of each verified line that has arrived, without blocking."""
        while self.open:
            try:
                chunk = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return
            self.open = bool(chunk)
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
            kind, body = json.loads(text)
            yield kind, body
        else:
            self.fault = self.fault or f"{len(line)} bytes on the result channel are not a signed message"
