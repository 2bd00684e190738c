"""The text of the house's files, for what is said of patches to them: since `linecache` reads it, text counts into the identity of these runs."""

from __future__ import annotations

import linecache

from plan.catalogue import HOUSE


def house_text(path: str) -> str | None:
    """The text of a file of this house; none where there is no such file, or it is no text."""
    return "".join(linecache.getlines(str(HOUSE / path))) or None
