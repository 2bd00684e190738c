"""Reads data files that others published: every row is whole, or the fault says file, line and the mend. Nothing is skipped."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any


class DataFault(ValueError):
    """A published file that cannot be read; the message says what, where and the mend. Nothing was used."""

    told = True


def rows(path: Path, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """(file:line, row) of a CSV file in UTF-8 that has at least `columns`, and as many cells in each row as its header."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := sorted({*columns} - {*(reader.fieldnames or ())}):
                raise DataFault(
                    f"{path}:1: no column {', '.join(f'`{name}`' for name in missing)}; fetch the file anew. nothing was read"
                )
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise DataFault(f"{where}: not as many cells as the header has; fetch the file anew. nothing was read")
                yield where, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataFault(f"{path}: not readable as UTF-8 CSV ({error}); fetch it anew. nothing was read") from None


def records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(file:line, object) of a gzipped file of JSON objects, one a line."""
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise DataFault(f"{path}:{number}: no JSON object; fetch the file anew. nothing was read")
                yield f"{path}:{number}", found
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataFault(
            f"{path}:{number}: not readable as gzipped lines of JSON ({error}); fetch it anew. nothing was read"
        ) from None
