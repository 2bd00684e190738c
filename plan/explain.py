"""What each fault code means, with a wrong and a right example: the text behind `orchestrate explain P007`."""

from __future__ import annotations

EXPLAIN: dict[str, str] = {}
