"""What the encoder has read, kept in the user's cache folder: a file a list of texts, under its own checksum.

Where a file is damaged, or nothing can be written, texts are read anew and nothing else happens.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plan.house import user_cache


def place() -> Path:
    """The folder of this user's own vectors."""
    return user_cache() / "embeddings"


def read(path: Path, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """The rows that `write` put there; None where there are none, or the file is not as it was written."""
    try:
        told, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if told != _digest(body, shape) or len(body) != 4 * shape[0] * shape[1]:
        return None
    rows = np.frombuffer(body, dtype="<f4").reshape(shape).astype(np.float64)
    return rows if np.isfinite(rows).all() else None


def write(path: Path, rows: NDArray[np.float64]) -> None:
    """Keep (N, D) `rows`, in single precision; a reader finds all of them or none."""
    body = rows.astype("<f4").tobytes()
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_digest(body, rows.shape) + b"\n" + body)
        os.replace(file.name, path)


def _digest(body: bytes, shape: tuple[int, ...]) -> bytes:
    return sha256(f"{shape}\n".encode() + body).hexdigest().encode()
