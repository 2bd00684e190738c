"""Length-prefixed frames on a descriptor: how the sandbox's own processes talk to each other."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

LARGEST = 256 << 20
"""Bytes of the largest frame anyone accepts."""


def write(descriptor: int, body: bytes) -> None:
    """Write one frame, waiting as long as that takes."""
    view = memoryview(struct.pack("=I", len(body)) + body)
    while view:
        view = view[os.write(descriptor, view) :]


def read(descriptor: int, *, largest: int = LARGEST) -> bytes | None:
    """The next frame; none when the other side closed first. ValueError when it is larger than `largest` bytes."""
    head = _exactly(descriptor, 4)
    if head is None:
        return None
    (length,) = struct.unpack("=I", head)
    if length > largest:
        raise ValueError(f"a frame of {length} bytes; at most {largest} are accepted")
    return _exactly(descriptor, length)


def tell(descriptor: int, **facts: Any) -> None:
    """One frame of JSON."""
    write(descriptor, json.dumps(facts).encode())


def _exactly(descriptor: int, length: int) -> bytes | None:
    parts, missing = [], length
    while missing:
        part = os.read(descriptor, min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def read_from(link: socket.socket) -> bytes | None:
    """`read` on a socket whose timeout counts; TimeoutError when it passes."""
    head = _received(link, 4)
    return None if head is None else _received(link, struct.unpack("=I", head)[0])


def _received(link: socket.socket, length: int) -> bytes | None:
    parts, missing = [], length
    while missing:
        try:
            part = link.recv(min(missing, 1 << 20))
        except ConnectionResetError:
            return None
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
