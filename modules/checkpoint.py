"""Checkpoints that are either whole or absent: digest first, written aside, flushed, then renamed into place."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch

MAGIC = b"touchstone-checkpoint-1\n"


def write(path: Path, body: dict[str, Any], *, identity: str) -> None:
    """Replace the file at `path` by `body` (tensors and plain values); a kill at any moment leaves the old or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"identity": identity, "body": body}, buffer)
    payload = buffer.getbuffer()
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).digest())
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path, *, identity: str) -> dict[str, Any] | None:
    """The body last written at `path`, or none; a damaged or foreign file is left alone and named on stderr."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    head = len(MAGIC) + 32
    if raw[: len(MAGIC)] != MAGIC or hashlib.sha256(raw[head:]).digest() != raw[len(MAGIC) : head]:
        _refuse(path, "is damaged or is not a checkpoint")
        return None
    saved = torch.load(io.BytesIO(raw[head:]), weights_only=True, map_location="cpu")
    if saved["identity"] != identity:
        _refuse(path, "belongs to another training (model, recipe, steps, seed or data differ)")
        return None
    body: dict[str, Any] = saved["body"]
    return body


def _refuse(path: Path, why: str) -> None:
    print(f"checkpoint `{path}` {why}; training starts anew and will replace it", file=sys.stderr)
