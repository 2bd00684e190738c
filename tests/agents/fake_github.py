"""A small GitHub on this machine: the parts of its API that are asked for, with ETags, limits, pages and whatever a test breaks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from agents.pulls.wait import Clock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Watch(Clock):
    """A clock that stands still until somebody sleeps; `slept` says for how long each time."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@dataclass
class FakeGitHub:
    """Open pull requests of `owner/name`, and what its API answers."""

    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Number -> `title`, `head`, `base`, `mergeable` (a list is worked through, one state an answer)."""
    branches: dict[str, str] = field(default_factory=dict)
    page: int = 100
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of every request."""
    tokens: list[str | None] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    broken: list[Handler] = field(default_factory=list)
    """Answer the next requests with these instead."""
    headers: dict[str, str] = field(default_factory=dict)
    """Added to every answer."""

    def server(self) -> TestServer:
        """A server to be used with `async with`."""
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        return TestServer(app)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        self.bodies.append(await request.text())
        if self.broken:
            response = await self.broken.pop(0)(request)
        elif request.path == "/graphql":
            response = self._json(request, self._graphql(json.loads(self.bodies[-1])))
        else:
            response = self._rest(request)
        self.seen.append((request.method, request.path_qs, response.status))
        return response

    def _graphql(self, asked: dict[str, Any]) -> Any:
        if asked["variables"]["owner"] != "owner" or asked["variables"]["name"] != "name":
            return {
                "data": {"repository": None},
                "errors": [{"type": "NOT_FOUND", "message": "Could not resolve to a Repository"}],
            }
        query = asked["query"]
        if "pullRequests(" in query:
            start = int(asked["variables"]["after"] or 0)
            some = sorted(self.pulls)[start : start + self.page]
            more = {"hasNextPage": start + self.page < len(self.pulls), "endCursor": str(start + self.page)}
            return {
                "data": {"repository": {"pullRequests": {"pageInfo": more, "nodes": [self._node(number) for number in some]}}}
            }
        found: dict[str, Any] = {
            f"p{number}": {"mergeable": self._state(int(number))} for number in re.findall(r"pullRequest\(number: (\d+)\)", query)
        }
        for alias, ref in re.findall(r'(b\d+): ref\(qualifiedName: "refs/heads/([^"]+)"\)', query):
            found[alias] = {"target": {"oid": self.branches[ref]}}
        return {"data": {"repository": found}}

    def _node(self, number: int) -> dict[str, Any]:
        pull = self.pulls[number]
        oid = self.branches[pull["base"]]
        return {
            "number": number, "title": pull["title"], "headRefOid": pull["head"], "baseRefName": pull["base"], "baseRefOid": oid,
            "mergeable": self._state(number), "baseRef": {"target": {"oid": oid}},
        }  # fmt: skip

    def _state(self, number: int) -> str:
        states = self.pulls[number]["mergeable"]
        if isinstance(states, list):
            return str(states.pop(0) if len(states) > 1 else states[0])
        return str(states)

    def _rest(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/repos/owner/name/pulls":
            return self._list(request)
        if match := re.fullmatch(r"/repos/owner/name/pulls/(\d+)", path):
            states = {"MERGEABLE": True, "CONFLICTING": False, "UNKNOWN": None}
            return self._json(request, {"number": int(match[1]), "mergeable": states[self._state(int(match[1]))]})
        if match := re.fullmatch(r"/repos/owner/name/git/ref/heads/(.+)", path):
            return self._json(request, {"object": {"sha": self.branches[match[1]]}})
        if path == "/repos/owner/name/branches":
            return self._json(request, [{"name": name, "commit": {"sha": oid}} for name, oid in self.branches.items()])
        return web.json_response({"message": "Not Found"}, status=404)

    def _list(self, request: web.Request) -> web.StreamResponse:
        per, page = int(request.query["per_page"]), int(request.query.get("page", "1"))
        per = min(per, self.page)
        some = sorted(self.pulls)[(page - 1) * per : page * per]
        nodes = [
            {
                "number": n,
                "title": p["title"],
                "head": {"sha": p["head"]},
                "base": {"ref": p["base"], "sha": "0" * 40},
                "updated": str(self.pulls),
            }
            for n, p in self.pulls.items()
            if n in some
        ]
        response = self._json(request, nodes)
        if page * per < len(self.pulls):
            response.headers["Link"] = (
                f'<{request.url.update_query(page=str(page + 1))}>; rel="next", <{request.url}>; rel="first"'
            )
        return response

    def _json(self, request: web.Request, value: Any) -> web.Response:
        text = json.dumps(value)
        etag = '"' + hashlib.sha256((text + str(request.headers.get("Authorization"))).encode()).hexdigest() + '"'
        if request.method == "GET" and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag, **self.headers})
        return web.Response(text=text, content_type="application/json", headers={"ETag": etag, **self.headers})


def answer(status: int = 200, text: str = "{}", **headers: str) -> Handler:
    """A handler that answers this, whatever is asked; underscores in header names become dashes."""

    async def handle(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named)

    return handle
