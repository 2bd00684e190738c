"""Looking at pull requests once or again and again: list them, bring their commits, merge them, hear what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agents.orchestrator import cores
from agents.pulls.cache import Cache
from agents.pulls.fetch import fetch, remote_of
from agents.pulls.github import GitHub
from agents.pulls.local import local_pulls
from agents.pulls.mergetree import Workshop, open_repository
from agents.pulls.survey import survey, with_words
from agents.pulls.transport import API
from agents.pulls.wait import Clock
from bench.pulls import Pull, Pulls

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where pull requests come from."""

    repo: Path = Path()
    """A clone, or a folder inside it."""
    github: str | None = None
    """`owner/name`; none: what the clone holds."""
    url: str = API
    branches: str | None = None
    """Without a server: only branches whose name matches this shell pattern."""
    base: str | None = None
    """Without a server: the branch they go into."""


class Watcher:
    """Keeps a throwaway repository and the server's session between looks; `async with` it."""

    def __init__(
        self,
        source: Source,
        *,
        cache: Path | None = None,
        concurrent: bool = False,
        session: aiohttp.ClientSession | None = None,
        clock: Clock | None = None,
        patience: float = 120.0,
        timeout: float = 20.0,
    ) -> None:
        """`concurrent`: merge on all cores, while the server is asked for what it had not worked out yet."""
        self.source, self.cache, self.concurrent = source, Cache(cache), concurrent
        self.clock = clock or Clock()
        self.repo = open_repository(source.repo)
        self.github: GitHub | None = None
        if source.github:
            self.github = GitHub(
                source.github, url=source.url, session=session, clock=self.clock, patience=patience, timeout=timeout
            )
        self._stack = AsyncExitStack()
        self._last: tuple[Pull, ...] = ()

    async def __aenter__(self) -> Watcher:
        self.shop = self._stack.enter_context(Workshop(self.repo))
        try:
            if self.github:
                await self._stack.enter_async_context(self.github)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def list_open(self) -> tuple[Pull, ...]:
        """The open pull requests, as the server or the clone has them."""
        if self.github:
            return await self.github.list_open()
        return local_pulls(self.repo, branches=self.source.branches, base=self.source.base)

    async def look(self, *, only: str | None = None) -> Pulls:
        """One look at all of them, or at the one called `only` (`#12`, or a branch)."""
        pulls = self._last = await self.list_open()
        if only is not None:
            pulls = tuple(pull for pull in pulls if pull.name == only)
        if self.github is None:
            return await asyncio.to_thread(self._merge, pulls)
        if self.concurrent:
            seen, listed = await asyncio.gather(asyncio.to_thread(self._merge, pulls), self.github.settle(pulls))
        else:
            listed = await self.github.settle(pulls)
            seen = self._merge(pulls)
        return with_words(seen, listed)

    async def looks(self, interval: float) -> AsyncIterator[Pulls]:
        """A look now and one whenever something moved, asked about every `interval` seconds: 2 requests at most while nothing does."""
        self._last = await self.list_open()
        await self._moved()  # before the first look, so that whatever moves from here on is noticed
        yield await self.look()
        while True:
            if await self._moved():
                yield await self.look()
            await self.clock.sleep(max(interval, self.github.wire.interval if self.github else 0.0))

    async def _moved(self) -> bool:
        if self.github is None:
            return await self.list_open() != self._last
        return await self.github.changed(list(dict.fromkeys(pull.base for pull in self._last)))

    def _merge(self, pulls: Sequence[Pull]) -> Pulls:
        pulls, notes = self._brought(pulls)
        return survey(
            self.shop,
            pulls,
            repository=self.source.github or Path(self.repo.working_dir).name,
            cache=self.cache,
            workers=cores() if self.concurrent else 1,
            notes=notes,
        )

    def _brought(self, pulls: Sequence[Pull]) -> tuple[Sequence[Pull], tuple[str, ...]]:
        """The pull requests with their commits at hand, fetched where this clone lacks them."""
        lacking = self.shop.missing({oid for pull in pulls for oid in (pull.head, pull.base_head)})
        wanted = [pull for pull in pulls if {pull.head, pull.base_head} & lacking]
        if self.github is None or not wanted:
            return pulls, ()
        url = remote_of(self.repo, self.github.repository, host=urlsplit(self.source.url).hostname or "")
        fetched, notes = fetch(self.shop, wanted, url)
        fresh = {pull.name: pull for pull in fetched}
        return [fresh.get(pull.name, pull) for pull in pulls], notes
