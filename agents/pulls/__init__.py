"""Open pull requests: do they merge into their base and with each other, as text and in meaning?

```python
list_open_prs(repo=".")  # -> tuple[Pull, ...]: what a clone holds; github="owner/name" asks the server
check_mergeable("#12", repo=".")  # -> Mergeable.YES, NO or UNKNOWN: a real merge, not the server's word
await list_open_prs_async(...)  # the same inside an event loop
await check_mergeable_async(...)
```

All four take the fields of `Source` (`repo`, `github`, `url`, `branches`, `base`) and raise `PullsFault`, which says what to mend.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.pulls.mergetree import PullsFault
from bench.pulls import Mergeable, Pull

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Mergeable", "Pull", "PullsFault", "check_mergeable", "check_mergeable_async", "list_open_prs", "list_open_prs_async"]


def list_open_prs(**source: Any) -> tuple[Pull, ...]:
    """All open pull requests of a clone or of a server's repository."""
    return asyncio.run(list_open_prs_async(**source))


def check_mergeable(pull: str | int, **source: Any) -> Mergeable:
    """Whether a pull request (`12`, `"#12"`, or a branch) merges into its base."""
    return asyncio.run(check_mergeable_async(pull, **source))


async def list_open_prs_async(*, session: aiohttp.ClientSession | None = None, **source: Any) -> tuple[Pull, ...]:
    """As `list_open_prs`; a `session` that is given is used and stays open."""
    from agents.pulls.watch import Source, Watcher

    async with Watcher(_source(Source, source), session=session) as watcher:
        return await watcher.list_open()


async def check_mergeable_async(
    pull: str | int, *, session: aiohttp.ClientSession | None = None, cache: Path | None = None, **source: Any
) -> Mergeable:
    """As `check_mergeable`. KeyError when no open pull request is called so."""
    from agents.pulls.watch import Source, Watcher

    name = f"#{pull}" if isinstance(pull, int) else pull
    async with Watcher(_source(Source, source), session=session, cache=cache) as watcher:
        seen = await watcher.look(only=name)
    if not seen.pulls:
        raise KeyError(name)
    return seen.against_base[0].mergeable


def _source(make: Any, fields: dict[str, Any]) -> Any:
    return make(**{**fields, "repo": Path(fields.get("repo", "."))})
