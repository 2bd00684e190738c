"""What is asked of GitHub: as little as possible, as often as it allows, and never on its word alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agents.pulls.github import POLLS, GitHub
from agents.pulls.mergetree import PullsFault
from agents.pulls.transport import MOST_BYTES
from bench.pulls import Mergeable
from tests.agents.fake_github import FakeGitHub, Handler, Watch, answer

TOKEN = "ghp_secret-of-the-tests"


def filled(many: int, **fields: Any) -> FakeGitHub:
    """A server with this many pull requests into `main`."""
    pull = {"base": "main", "mergeable": "MERGEABLE", **fields}
    pulls = {n: {"title": f"change {n}", "head": f"{n:040x}", **pull} for n in range(1, many + 1)}
    return FakeGitHub(pulls=pulls, branches={"main": "f" * 40, "next": "e" * 40})


def ask(fake: FakeGitHub, work: Callable[[GitHub], Awaitable[Any]], *, token: str = TOKEN, **options: Any) -> Any:
    """What `work` finds out from the fake server."""

    async def run() -> Any:
        async with fake.server() as server:
            url = str(server.make_url("")).rstrip("/")
            async with GitHub("owner/name", url=url, token=token, **{"clock": Watch(), **options}) as github:
                return await work(github)

    return asyncio.run(run())


async def listed(github: GitHub) -> Any:
    return await github.list_open()


@pytest.fixture(autouse=True)
def nothing_leaks(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield
    printed = capsys.readouterr()
    assert TOKEN not in caplog.text + printed.out + printed.err


def test_a_hundred_pull_requests_cost_one_request() -> None:
    fake = filled(100)
    pulls = ask(fake, listed)
    assert [pull.number for pull in pulls] == list(range(1, 101))
    assert (pulls[6].name, pulls[6].head, pulls[6].base, pulls[6].base_head) == ("#7", f"{7:040x}", "main", "f" * 40)
    assert all(pull.said is Mergeable.YES for pull in pulls)
    assert len(fake.seen) == 1
    assert fake.tokens == [f"Bearer {TOKEN}"]


def test_more_than_a_page_is_read_to_the_end() -> None:
    fake = filled(250)
    assert len(ask(fake, listed)) == 250
    assert len(fake.seen) == 3


def test_without_a_token_the_rest_list_is_read_page_by_page_on_the_bases_of_today() -> None:
    fake = filled(230)
    pulls = ask(fake, listed, token="")
    assert [pull.number for pull in pulls] == list(range(1, 231))
    assert {pull.base_head for pull in pulls} == {"f" * 40}
    assert {pull.said for pull in pulls} == {Mergeable.UNKNOWN}
    assert len(fake.seen) == 3 + 1
    assert fake.tokens == [None] * 4


@pytest.mark.parametrize("token", [TOKEN, ""])
@pytest.mark.parametrize("bases", [["main"], ["main", "next"]])
def test_an_idle_poll_costs_two_requests_at_most_and_a_304_nothing(bases: list[str], token: str) -> None:
    fake = filled(3)

    async def idle(github: GitHub) -> list[Any]:
        first = await github.changed(bases)
        before = len(fake.seen)
        turns = [await github.changed(bases) for _ in range(5)]
        return [first, turns, len(fake.seen) - before, github.wire.budget.free]

    first, turns, requests, free = ask(fake, idle, token=token)
    assert first
    assert turns == [False] * 5
    assert requests <= 2 * 5
    assert free >= (10 if len(bases) == 1 or not token else 5)


@pytest.mark.parametrize("bases", [["main"], ["main", "next"]])
def test_a_new_commit_a_new_title_and_a_moved_base_are_noticed(bases: list[str]) -> None:
    fake = filled(3)

    async def watch(github: GitHub) -> list[bool]:
        found = [await github.changed(bases)]
        fake.pulls[1]["head"] = "c" * 40
        found.append(await github.changed(bases))
        fake.branches[bases[-1]] = "d" * 40
        found.append(await github.changed(bases))
        return [*found, await github.changed(bases)]

    fake.page = 1
    fake.pulls = {1: fake.pulls[1]}
    assert ask(fake, watch) == [True, True, True, False]


def test_what_is_not_worked_out_yet_is_asked_for_alone_ever_less_often() -> None:
    fake, clock = filled(4), Watch()
    fake.pulls[2]["mergeable"] = ["UNKNOWN", "UNKNOWN", "CONFLICTING"]
    fake.pulls[3]["mergeable"] = ["UNKNOWN", "MERGEABLE"]

    async def settled(github: GitHub) -> Any:
        return await github.settle(await github.list_open())

    said = [pull.said for pull in ask(fake, settled, clock=clock)]
    assert said == [Mergeable.YES, Mergeable.NO, Mergeable.YES, Mergeable.YES]
    assert clock.slept == [1.0, 2.0]
    assert [re.findall(r"number: (\d+)", body) for body in fake.bodies[1:]] == [["2", "3"], ["2"]]


def test_null_is_unknown_and_never_a_conflict() -> None:
    fake, clock = filled(1, mergeable="UNKNOWN"), Watch()

    async def check(github: GitHub) -> Any:
        return await github.check(1)

    assert ask(fake, check, clock=clock) is Mergeable.UNKNOWN
    assert clock.slept == [2.0**turn for turn in range(POLLS - 1)]
    assert ask(filled(1, mergeable=["UNKNOWN", "MERGEABLE"]), check) is Mergeable.YES
    assert ask(filled(1, mergeable=["UNKNOWN", "CONFLICTING"]), check) is Mergeable.NO


LIMITED: dict[str, tuple[list[Handler], list[float]]] = {
    "retry-after in seconds": ([answer(429, retry_after="17")], [17.0]),
    "retry-after as a date": ([answer(403, retry_after="Tue, 14 Nov 2023 22:14:00 GMT")], [40.0]),
    "a primary limit used up": ([answer(403, x_ratelimit_remaining="0", x_ratelimit_reset="1700000030")], [31.0]),
    "a secondary limit": ([answer(403, '{"message": "You have exceeded a secondary rate limit"}')] * 2, [60.0, 120.0]),
    "429 without a word": ([answer(429, "")], [60.0]),
    "graphql's own limit": (
        [answer(200, '{"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}')],
        [60.0],
    ),
    "a server that is down for a moment": ([answer(502, "<html>"), answer(503, "")], [1.0, 2.0]),
}


@pytest.mark.parametrize("case", LIMITED)
def test_a_limit_is_waited_for_as_long_as_it_asks(case: str) -> None:
    fake, clock = filled(2), Watch()
    fake.broken, slept = list(LIMITED[case][0]), LIMITED[case][1]
    assert len(ask(fake, listed, clock=clock)) == 2
    assert clock.slept == slept


def test_a_limit_that_is_used_up_is_waited_for_before_the_next_request() -> None:
    fake, clock = filled(2), Watch()
    fake.headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(clock.time) + 50)}

    async def twice(github: GitHub) -> str:
        await github.list_open()
        assert clock.slept == []
        await github.list_open()
        return github.spent()

    spent = ask(fake, twice, clock=clock)
    assert clock.slept == [51.0]
    assert "2 requests" in spent
    assert "0 of 5000 left" in spent
    assert "waited 51 s" in spent


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b" " * (1 << 20))
    except (ConnectionError, aiohttp.ClientError):
        pass
    return response


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)
    except (ConnectionError, aiohttp.ClientError):
        pass
    return response


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def hung_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def one(**fields: Any) -> Handler:
    """A GraphQL list with one pull request of these fields."""
    node = {
        "number": 1, "title": "t", "headRefOid": "a" * 40, "baseRefName": "main", "baseRefOid": "b" * 40, "mergeable": "MERGEABLE",
        "baseRef": None, **fields,
    }  # fmt: skip
    import json

    pages = {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": [node]}
    return answer(200, json.dumps({"data": {"repository": {"pullRequests": pages}}}))


PAGE_FOR_EVER = answer(
    200, '{"data": {"repository": {"pullRequests": {"pageInfo": {"hasNextPage": true, "endCursor": "x"}, "nodes": []}}}}'
)
FAULTS: dict[str, tuple[list[Handler], str]] = {
    "no JSON": ([answer(200, "<html>hello</html>")], "does not answer in JSON"),
    "JSON of another kind": ([answer(200, "[1, 2]")], "lacks `data`"),
    "deep JSON": ([answer(200, "[" * 200_000)], "does not answer in JSON"),
    "nothing": ([answer(200, "")], "lacks `data`"),
    "a number that is text": ([one(number="1")], "lacks `number` as int"),
    "a number that is true": ([one(number=True)], "lacks `number` as int"),
    "a number below one": ([one(number=-1)], "a pull request's number"),
    "an id that is an option": ([one(headRefOid="--upload-pack=touch /tmp/x")], "object ids"),
    "an id with a newline": ([one(headRefOid="a" * 40 + "\n")], "object ids"),
    "a state of its own": ([one(mergeable="PERHAPS")], "a mergeable state"),
    "a boolean state": ([one(mergeable=True)], "lacks `mergeable` as str"),
    "a base that is a list": ([one(baseRefName=["main"])], "lacks `baseRefName`"),
    "no such repository": ([answer(200, '{"data": {"repository": null}, "errors": [{"message": "Could not resolve"}]}')], "Could not resolve"),
    "words that steer a terminal": ([answer(403, '{"message": "\\u001b[31mred\\u202e\\nlines"}')], r"status 403: \[31mred lines\)"),
    "a page that follows itself": ([PAGE_FOR_EVER] * 3, "the same page"),
    "an endless answer": ([endless], "larger than 16 MiB"),
    "an answer that drips": ([dripping], "no whole answer within 0.4 s"),
    "no answer": ([silent], "no whole answer within 0.4 s"),
    "a connection that breaks each time": ([hung_up] * 9, "cannot be reached"),
    "broken each time": ([answer(500)] * 9, r"is broken \(status 500\)"),
    "a token it does not know": ([answer(401, '{"message": "Bad credentials"}')], r"does not take the token \(401\)"),
    "forbidden": ([answer(403, '{"message": "Resource not accessible"}')], "refuses .status 403: Resource not accessible"),
    "another host": ([answer(302, location="http://localhost:1/steal")], "another host by a redirect"),
    "no address": ([answer(302, location="http://[x")], "no address by a redirect"),
    "a circle": ([answer(307, location="/graphql")] * 9, "redirects in a circle"),
    "an hour to wait": ([answer(429, retry_after="3600")], "for 60 min"),
    "limits without end": ([answer(429, retry_after="1")] * 9, "still limits requests"),
    "304 to what was not asked so": ([answer(304, "")], "status 304"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_server_that_is_dead_slow_lying_or_huge_is_a_clear_error(case: str) -> None:
    fake = filled(2)
    fake.broken, words = list(FAULTS[case][0]), FAULTS[case][1]
    with pytest.raises(PullsFault, match=words) as told:
        ask(fake, listed, timeout=0.4 if "0.4" in words else 10.0)
    assert TOKEN not in str(told.value)
    assert MOST_BYTES == 16 << 20


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    async def run() -> None:
        async with GitHub("owner/name", url="http://127.0.0.1:9", token=TOKEN, clock=Watch()) as github:
            await github.list_open()

    with pytest.raises(PullsFault, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        asyncio.run(run())


def test_a_next_page_on_another_host_is_not_asked_for() -> None:
    fake = filled(2)
    fake.broken = [answer(200, "[]", link='<http://localhost:1/pulls?page=2>; rel="next"')]
    with pytest.raises(PullsFault, match="another host by its next page"):
        ask(fake, listed, token="")
    fake.broken = [answer(200, "[]", link='<http://[x>; rel="next"')]
    with pytest.raises(PullsFault, match="no address by its next page"):
        ask(fake, listed, token="")


def test_a_repository_that_was_renamed_is_followed_on_the_same_host() -> None:
    fake = filled(2)
    fake.broken = [answer(301, location="/graphql")]
    assert len(ask(fake, listed)) == 2
    assert fake.tokens == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize(
    ("repository", "url", "token", "words"),
    [
        ("owner", "https://api.github.com", "", "no repository"),
        ("owner/../x", "https://api.github.com", "", "no repository"),
        ("owner/..", "https://api.github.com", "", "no repository"),
        ("-o/name\n", "https://api.github.com", "", "no repository"),
        ("owner/name", "ftp://example.org", "", "no API server"),
        ("owner/name", "https://user:pass@example.org", "", "no API server"),
        ("owner/name", "http://example.org", TOKEN, "not sent over plain http"),
        ("owner/name", "https://example.org", f"{TOKEN}\r\nX: y", "holds white space"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(repository: str, url: str, token: str, words: str) -> None:
    with pytest.raises(PullsFault, match=words) as told:
        GitHub(repository, url=url, token=token)
    assert TOKEN not in str(told.value)
    assert "user:pass" not in str(told.value)


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    fake = filled(1)

    async def run() -> None:
        async with fake.server() as server, GitHub("owner/name", url=str(server.make_url("")), clock=Watch()) as github:
            await github.list_open()
            assert TOKEN not in repr(vars(github))

    asyncio.run(run())
    assert fake.tokens == [f"Bearer {TOKEN}"]


def test_a_session_that_is_given_is_used_and_stays_open() -> None:
    fake = filled(1)

    async def run() -> None:
        async with fake.server() as server, aiohttp.ClientSession(headers={"X-Mine": "yes"}) as session:
            async with GitHub("owner/name", url=str(server.make_url("")), token=TOKEN, session=session) as github:
                await github.list_open()
            assert not session.closed

    asyncio.run(run())


@pytest.mark.filterwarnings("error")
def test_an_own_session_is_closed() -> None:
    ask(filled(1), listed)
    gc.collect()
