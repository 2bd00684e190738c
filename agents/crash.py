"""Keeps the traceback of a mistake of our own in a file, and tells the user one line."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from pathlib import Path


def write_crash(error: Exception) -> str:
    """Write the traceback to a new file; the line to tell the user."""
    with tempfile.NamedTemporaryFile("w", prefix="orchestrate-crash-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(f"{' '.join(sys.argv)}\npython {platform.python_version()} on {platform.platform()}\n\n")
        traceback.print_exception(error, file=file)
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        f"  the ledger keeps every finished measurement; the same command goes on\n"
        f"  traceback: {Path(file.name)}   (ORCHESTRATE_DEBUG=1 shows it; please report it with this file)"
    )
