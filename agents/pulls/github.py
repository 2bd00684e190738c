"""Pull requests as GitHub tells them, in few requests: with a token one GraphQL request brings 100, without one the REST list does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from agents.pulls.answers import first_error, from_graphql, from_rest, odd, state, take
from agents.pulls.mergetree import PullsFault
from agents.pulls.transport import API, Transport
from agents.pulls.wait import Clock
from bench.pulls import Mergeable, Pull

if TYPE_CHECKING:
    import aiohttp

PAGE = 100
"""Most pull requests that one request can bring."""
MOST_PAGES = 50
POLLS = 6
"""How often a mergeable state that GitHub is still working out is asked for, after 1, 2, 4, ... seconds."""
FIELDS = "number title headRefOid baseRefName baseRefOid mergeable baseRef { target { oid } }"
LIST = (
    "query($owner: String!, $name: String!, $after: String) { repository(owner: $owner, name: $name) { "
    f"pullRequests(states: OPEN, first: {PAGE}, after: $after, orderBy: {{field: CREATED_AT, direction: ASC}}) "
    f"{{ pageInfo {{ hasNextPage endCursor }} nodes {{ {FIELDS} }} }} }} }}"
)


class GitHub:
    """A client for one repository; `async with` it. All requests go one after the other."""

    def __init__(
        self,
        repository: str,
        *,
        url: str = API,
        session: aiohttp.ClientSession | None = None,
        token: str | None = None,
        clock: Clock | None = None,
        patience: float = 120.0,
        timeout: float = 20.0,
    ) -> None:
        """`patience`: the most seconds it waits for a limit in one go; `timeout`: the most that one answer may take.

        A `session` that is given stays open. Raises PullsFault for what is no repository, no URL or no token.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", repository) or {".", ".."} & set(repository.split("/")):
            raise PullsFault(f"`{repository}` is no repository\n  help: write it as `owner/name`")
        self.repository = repository
        self.wire = Transport(url, session=session, token=token, clock=clock, patience=patience, timeout=timeout)
        self._last: dict[str, str] = {}
        """What was asked -> the last answer, as text."""

    async def __aenter__(self) -> GitHub:
        await self.wire.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wire.close()

    async def list_open(self) -> tuple[Pull, ...]:
        """All open pull requests, oldest first; `said` is unknown where GitHub has not worked it out, or no token was given."""
        return await (self._list_graphql() if self.wire.has_token else self._list_rest())

    async def settle(self, pulls: Sequence[Pull]) -> tuple[Pull, ...]:
        """The same pull requests; those whose state is unknown are asked for again, alone and ever less often.

        Without a token nothing is asked: 60 requests an hour are better spent on the list.
        """
        known = list(pulls)
        for turn in range(POLLS if self.wire.has_token else 0):
            unknown = [place for place, pull in enumerate(known) if pull.said is Mergeable.UNKNOWN and pull.number]
            if not unknown:
                break
            await self.wire.clock.sleep(2.0**turn)
            for start in range(0, len(unknown), PAGE):
                some = unknown[start : start + PAGE]
                wish = " ".join(
                    f"p{known[place].number}: pullRequest(number: {known[place].number}) {{ mergeable }}" for place in some
                )
                query = f"query($owner: String!, $name: String!) {{ repository(owner: $owner, name: $name) {{ {wish} }} }}"
                answered = await self._graphql(query, {})
                for place in some:
                    node = answered.get(f"p{known[place].number}")
                    said = Mergeable.UNKNOWN if node is None else state(take(node, "mergeable", str, type(None)))
                    known[place] = replace(known[place], said=said)
        return tuple(known)

    async def check(self, number: int) -> Mergeable:
        """Whether GitHub says that pull request `number` merges; `null` is asked again, and is unknown when it stays."""
        for turn in range(POLLS):
            answer = await self.wire.ask("GET", f"{self._rest}/pulls/{int(number)}")
            said = take(answer.body, "mergeable", bool, type(None))
            if said is not None:
                return Mergeable.YES if said else Mergeable.NO
            if turn + 1 < POLLS:
                await self.wire.clock.sleep(2.0**turn)
        return Mergeable.UNKNOWN

    async def changed(self, bases: Sequence[str]) -> bool:
        """Whether a pull request or one of the branches `bases` moved since the last call (the first says yes): 2 requests at most.

        Both are conditional, and free when nothing moved. With several bases the second is one GraphQL request or, without a
        token, the list of branches.
        """
        news = await self._moved(f"{self._rest}/pulls?state=all&sort=updated&direction=desc&per_page=1")
        if len(bases) == 1:
            return await self._moved(f"{self._rest}/git/ref/heads/{quote(bases[0])}") or news
        if bases and self.wire.has_token:
            wish = " ".join(
                f"b{i}: ref(qualifiedName: {json.dumps('refs/heads/' + b)}) {{ target {{ oid }} }}" for i, b in enumerate(bases)
            )
            query = f"query($owner: String!, $name: String!) {{ repository(owner: $owner, name: $name) {{ {wish} }} }}"
            tips = await self._graphql(query, {})
            return self._other("tips", tips) or news
        return (bool(bases) and await self._moved(f"{self._rest}/branches?per_page={PAGE}")) or news

    def spent(self) -> str:
        """One line: requests sent, free ones, what is left."""
        return self.wire.spent()

    @property
    def _rest(self) -> str:
        return f"{self.wire.url}/repos/{self.repository}"

    async def _list_graphql(self) -> tuple[Pull, ...]:
        found: dict[int, Pull] = {}
        after: str | None = None
        for _ in range(MOST_PAGES):
            page = take(await self._graphql(LIST, {"after": after}), "pullRequests", dict)
            for node in take(page, "nodes", list):
                pull = from_graphql(node)
                found[pull.number or 0] = pull
            turn = take(page, "pageInfo", dict)
            if not take(turn, "hasNextPage", bool):
                return tuple(found.values())
            before, after = after, take(turn, "endCursor", str)
            if after == before:
                raise PullsFault(f"{self.wire.origin} gives the same page of pull requests for ever; nothing was recorded")
        raise PullsFault(f"{self.repository} has more than {MOST_PAGES * PAGE} open pull requests, too many to look at")

    async def _list_rest(self) -> tuple[Pull, ...]:
        found: dict[int, Pull] = {}
        url: str | None = f"{self._rest}/pulls?state=open&sort=created&direction=asc&per_page={PAGE}"
        visited: set[str] = set()
        while url is not None:
            if url in visited or len(visited) >= MOST_PAGES:
                raise PullsFault(f"{self.wire.origin} gives pages of pull requests for ever; nothing was recorded")
            visited.add(url)
            answer = await self.wire.ask("GET", url, conditional=True)
            if not isinstance(answer.body, list):
                raise odd("a list of pull requests", answer.body)
            for node in answer.body:
                pull = from_rest(node)
                found[pull.number or 0] = pull
            url = self._next(answer.headers.get("link", ""), url)
        return await self._on_tips(tuple(found.values()))

    async def _on_tips(self, pulls: tuple[Pull, ...]) -> tuple[Pull, ...]:
        """The pull requests on the tips that their bases have now: the REST list tells those of their last change."""
        tips: dict[str, str] = {}
        for base in dict.fromkeys(pull.base for pull in pulls):
            answer = await self.wire.ask("GET", f"{self._rest}/git/ref/heads/{quote(base)}", conditional=True)
            tips[base] = take(take(answer.body, "object", dict), "sha", str)
        return tuple(replace(pull, base_head=tips[pull.base]) for pull in pulls)

    def _next(self, link: str, url: str) -> str | None:
        match = re.search(r'<([^<>]*)>\s*;[^<,]*\brel="?next"?', link)
        return self.wire.next_to(url, match[1], "its next page") if match else None

    async def _moved(self, url: str) -> bool:
        answer = await self.wire.ask("GET", url, conditional=True)
        return self._other(url, answer.body)

    def _other(self, what: str, answer: Any) -> bool:
        """Whether the answer to `what` is another one than the last time."""
        told = json.dumps(answer, sort_keys=True)
        before, self._last[what] = self._last.get(what), told
        return before != told

    async def _graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        owner, _, name = self.repository.partition("/")
        graphql = self.wire.url.removesuffix("/v3") if self.wire.url.endswith("/api/v3") else self.wire.url
        asked = {"query": query, "variables": {"owner": owner, "name": name, **variables}}
        answer = await self.wire.ask("POST", f"{graphql}/graphql", asked=asked)
        data = take(answer.body, "data", dict, type(None)) or {}
        if (found := data.get("repository")) is None:
            raise PullsFault(
                f"{self.wire.origin} knows no repository `{self.repository}`, or the token may not read it{first_error(answer.body)}"
            )
        if not isinstance(found, dict):
            raise odd("a repository", found)
        return found
