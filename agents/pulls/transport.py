"""One request to an API server: limits kept, redirects and sizes bounded, the token sent to nobody else.

The token is read from the environment (`GITHUB_TOKEN` or `GH_TOKEN`), goes to the API's own origin only, and is in no message.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from agents.pulls.answers import error_types, message, whole
from agents.pulls.mergetree import PullsFault
from agents.pulls.wait import Budget, Clock, asked_for

if TYPE_CHECKING:
    import aiohttp

API = "https://api.github.com"
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
MOST_BYTES = 16 << 20
"""An answer beyond this is not read to its end."""
TRIES = 4
"""How often one request is sent before a limit or a broken server is an error."""
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(repr=False)
    """Parsed JSON; for a 304, that of the answer it stands for."""


class Transport:
    """Sends requests one after the other, between `open` and `close`."""

    def __init__(
        self,
        url: str,
        *,
        session: aiohttp.ClientSession | None = None,
        token: str | None = None,
        clock: Clock | None = None,
        patience: float = 120.0,
        timeout: float = 20.0,
    ) -> None:
        """See `agents.pulls.github.GitHub`."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise PullsFault(f"`--url` is no API server's address\n  help: for example {API}, without user or password")
        self.url = url.rstrip("/")
        self.origin = _origin(url)
        self._token = _checked(token if token is not None else next(filter(None, map(os.environ.get, TOKENS)), ""))
        if self._token and parts.scheme == "http" and parts.hostname not in LOCAL:
            raise PullsFault(
                f"the token was not sent over plain http to {parts.hostname}\n  help: use https, or unset {TOKENS[0]}"
            )
        self.clock, self.patience, self.timeout = clock or Clock(), patience, timeout
        self.budget = Budget()
        self.interval = 0.0
        """Least seconds between polls, as the server asks."""
        self._session, self._mine = session, session is None
        self._seen: dict[str, Answer] = {}
        """URL -> the last answer that had an ETag."""

    async def open(self) -> None:
        """Make a session, unless one was given."""
        if self._session is None:
            try:
                import aiohttp
            except ImportError:
                raise PullsFault("asking a server needs aiohttp\n  help: pip install 'touchstone-lab[pulls]'") from None
            self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Close the session that `open` made."""
        if self._mine and self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def has_token(self) -> bool:
        """Whether requests carry a token."""
        return bool(self._token)

    def spent(self) -> str:
        """One line: requests sent, free ones, what is left."""
        return self.budget.told(self.clock.now())

    async def ask(self, method: str, url: str, *, asked: Any = None, conditional: bool = False) -> Answer:
        """Send one request until it is answered, waiting as long as the server asks for, if that is within `patience`."""
        limits = 0
        for turn in range(TRIES):
            await self._wait(self.budget.pause(_resource(url), self.clock.now()), "its limit of requests is used up")
            try:
                answer = await self._send(method, url, asked, conditional=conditional)
            except _Broken as broken:
                if turn + 1 == TRIES:
                    raise PullsFault(f"{self.origin} {broken}\n  help: is it the right `--url`? try again later") from None
                await self.clock.sleep(2.0**turn)
                continue
            words = message(answer.body)
            status = 429 if "RATE_LIMITED" in error_types(answer.body) else answer.status
            pause = asked_for(status, answer.headers, words, now=self.clock.now(), times=limits)
            if pause is None:
                self._refuse(answer, words, url)
                return answer
            if turn + 1 == TRIES:
                break
            limits += 1
            await self._wait(pause, "it asks for fewer requests")
        raise PullsFault(f"{self.origin} still limits requests after {TRIES} tries ({self.spent()})\n  help: try again later")

    async def _wait(self, seconds: float, why: str) -> None:
        if seconds > self.patience:
            more = "" if self._token else f", or set {TOKENS[0]} for more requests an hour"
            raise PullsFault(f"{self.origin}: {why} for {seconds / 60:.0f} min ({self.spent()})\n  help: try again then{more}")
        if seconds > 0:
            self.budget.waited += seconds
            await self.clock.sleep(seconds)

    async def _send(self, method: str, url: str, asked: Any, *, conditional: bool) -> Answer:
        """One request, redirects on the same origin followed; `_Broken` for what may be better the next time."""
        import aiohttp

        if self._session is None:
            raise RuntimeError("the transport is not open")
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "touchstone", "X-GitHub-Api-Version": "2022-11-28"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        known = self._seen.get(url) if conditional else None
        if known:
            headers["If-None-Match"] = known.headers["etag"]
        limit = aiohttp.ClientTimeout(total=self.timeout)
        for _ in range(4):
            self.budget.requests += 1
            try:
                async with self._session.request(
                    method, url, json=asked, headers=headers, allow_redirects=False, timeout=limit
                ) as response:
                    self.budget.take_in(_resource(url), response.headers)
                    self.interval = max(self.interval, whole(response.headers.get("x-poll-interval")))
                    if response.status in (301, 302, 303, 307, 308):
                        url = self.next_to(url, response.headers.get("location", ""), "a redirect")
                        continue
                    raw = await _read(response)
                    status, told = response.status, {name.lower(): value for name, value in response.headers.items()}
            except TimeoutError:
                raise PullsFault(f"{self.origin} gave no whole answer within {self.timeout:g} s; nothing was recorded") from None
            except aiohttp.ClientError as error:
                raise _Broken(f"cannot be reached ({type(error).__name__})") from None
            if status == 304 and known:
                self.budget.free += 1
                return Answer(200, {**known.headers, **told}, known.body)
            if status >= 500:
                raise _Broken(f"is broken (status {status})")
            body = _parsed(raw, self.origin, status)
            if conditional and status == 200 and "etag" in told:
                self._seen[url] = Answer(status, told, body)
            return Answer(status, told, body)
        raise PullsFault(f"{self.origin} redirects in a circle; nothing was recorded")

    def next_to(self, here: str, link: str, what: str) -> str:
        """Where `link` on the page `here` leads, if it is on this server; PullsFault otherwise."""
        try:
            url = urljoin(here, link)
            there = _origin(url)
        except ValueError:
            raise PullsFault(f"{self.origin} sends us to what is no address by {what}; nothing was recorded") from None
        if there != self.origin:
            raise PullsFault(
                f"{self.origin} sends us to another host by {what} ({there}); nothing was sent there, the token neither"
            )
        return url

    def _refuse(self, answer: Answer, words: str, url: str) -> None:
        """Raise what a status that is no success means."""
        match answer.status:
            case status if 200 <= status < 300:
                return
            case 401:
                raise PullsFault(
                    f"{self.origin} does not take the token (401)\n  help: put a valid one into {TOKENS[0]}, or unset it"
                )
            case 404:
                raise PullsFault(
                    f"{self.origin} knows no {url.removeprefix(self.url)} (404)\n  help: check `--github`; a private one needs a token in {TOKENS[0]}"
                )
            case status:
                raise PullsFault(f"{self.origin} refuses (status {status}: {words or 'no reason given'}); nothing was recorded")


class _Broken(Exception):
    """The server did not answer as one that works; asking again may help."""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body; an endless or huge one is cut off by an error."""
    found = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        found += chunk
        if len(found) > MOST_BYTES:
            raise PullsFault(
                f"the answer of {_origin(str(response.url))} is larger than {MOST_BYTES >> 20} MiB; nothing was recorded"
            )
    return bytes(found)


def _parsed(raw: bytes, origin: str, status: int) -> Any:
    try:
        return json.loads(raw) if raw.strip() else None
    except (ValueError, RecursionError):
        if status != 200:
            return None
        raise PullsFault(f"{origin} does not answer in JSON, so it is no GitHub API\n  help: check `--url`") from None


def _resource(url: str) -> str:
    """Which of GitHub's separate limits a request counts against."""
    return "graphql" if url.endswith("/graphql") else "core"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ":?"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _checked(token: str) -> str:
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise PullsFault(f"{TOKENS[0]} holds white space or characters that no token has; it was sent nowhere")
    return token
