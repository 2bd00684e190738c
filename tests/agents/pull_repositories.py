"""Small repositories whose branches are given as texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agents.pulls.forty import FILE, Change, Stream
from agents.pulls.local import local_pulls
from agents.pulls.mergetree import Workshop, open_repository
from agents.pulls.survey import survey
from bench.pulls import Pulls

Texts = Mapping[str, str | None]
"""Path -> text; None takes the file away."""


def repository(folder: Path, base: Texts, **branches: Texts) -> Path:
    """A repository with `main` and a branch on it for each further argument."""
    stream = Stream()
    first = stream.commit("main", changes(base))
    for name, texts in branches.items():
        stream.commit(name, changes(texts), parents=[first])
    stream.write(folder)
    return folder


def changes(texts: Texts) -> list[Change]:
    """What `fast-import` is to do for these texts."""
    return [("-", path) if text is None else (FILE, path, text.encode()) for path, text in texts.items()]


def look(folder: Path, *, base: str = "main") -> Pulls:
    """All branches of the repository, merged with `base` and with each other."""
    repo = open_repository(folder)
    with Workshop(repo) as shop:
        return survey(shop, local_pulls(repo, base=base), repository=folder.name)
