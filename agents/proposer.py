"""Asks a language model for a patch, over HTTP and with every doubt: whatever it answers is either one plain diff or refused.

Any endpoint that speaks `POST /chat/completions` will do: `run --proposer http://127.0.0.1:8080/v1#model-name`. The key comes from the
environment (`TOUCHSTONE_PROPOSER_KEY`) alone; it is sent to that one place and is never written down or handed to a child.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

PLACE, KEY = "TOUCHSTONE_PROPOSER", "TOUCHSTONE_PROPOSER_KEY"
FENCE = re.compile(r"^```(?:diff|patch)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers after which asking once more makes sense."""


class Refused(Exception):
    """What the endpoint said, or how, cannot become a proposal; the message says why, in our words."""


class _Busy(Exception):
    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to ask, and how much of an answer is waited for and read."""

    scheme: str
    host: str
    port: int
    path: str
    model: str
    key: str = field(default="", repr=False)
    seconds: float = 120.0
    """For all attempts together, waiting included."""
    most_bytes: int = 1 << 20
    attempts: int = 4

    @property
    def name(self) -> str:
        """What may be written down of it."""
        return f"{self.model} at {self.host}:{self.port}"


def endpoint(url: str, environment: Mapping[str, str], **limits: Any) -> Endpoint:
    """The endpoint that `url` names, with the key from `environment`; ValueError with the mend."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[A-Za-z0-9.:-]+", parts.hostname):
        raise ValueError("a proposer is `http://HOST[:PORT]/v1` or `https://HOST/v1`, with `#MODEL` at its end to name a model")
    if parts.username or parts.password or parts.query:
        raise ValueError(f"a proposer's URL holds no name, password or query; put the key into `{KEY}`")
    key = environment.get(KEY, "")
    if key and not re.fullmatch(r"[!-~]+", key):
        raise ValueError(f"`{KEY}` holds characters that no HTTP header may hold")
    if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(f"the key in `{KEY}` would travel to `{parts.hostname}` in clear text; use https, or unset it")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = parts.path.rstrip("/") + "/chat/completions"
    model = re.sub(r"[^\w./:@-]", "", parts.fragment) or "default"
    return Endpoint(scheme=parts.scheme, host=parts.hostname, port=port, path=path, model=model, key=key, **limits)


def from_environment(environment: MutableMapping[str, str] = os.environ) -> Endpoint | None:
    """The endpoint this session was started with; none without one. The key is taken out of `environment`, so that no child inherits it."""
    if KEY in environment:
        _keys[KEY] = environment.pop(KEY)
    url = environment.get(PLACE, "")
    return endpoint(url, _keys) if url else None


def choose(url: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Make `url` the endpoint of this session; a usage error when it cannot be one."""
    import typer

    try:
        endpoint(url, environment)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--proposer") from None
    environment[PLACE] = url


_keys: dict[str, str] = {}
"""The key once it was taken out of the environment."""


def ask(where: Endpoint, messages: Sequence[Mapping[str, str]], *, sleep: Callable[[float], None] = time.sleep) -> str:
    """The text of the model's answer; Refused when there is none within the limits.

    Busy servers and broken connections are asked again after a growing, jittered pause, or after what `retry-after` says.
    """
    body = json.dumps({"model": where.model, "messages": list(messages), "temperature": 0.2, "stream": False}).encode()
    deadline = time.monotonic() + where.seconds
    why = "no time was left"
    for attempt in range(where.attempts):
        if (left := deadline - time.monotonic()) <= 0:
            break
        try:
            return _text(_post(where, body, left))
        except _Busy as busy:
            why = str(busy)
            pause = busy.wait if busy.wait is not None else 2.0**attempt * random.uniform(0.5, 1.0)
        if attempt + 1 < where.attempts:
            if pause > deadline - time.monotonic():
                raise Refused(f"{why}; it asks to wait {pause:.0f} s, which is longer than the time that is left")
            sleep(pause)
    raise Refused(f"{why}, after {attempt + 1} attempts")


def only_diff(answer: str) -> str:
    """The one diff in an answer: fenced as `diff`, or the whole of it. Words around a fence are dropped unread; Refused otherwise."""
    fenced = FENCE.findall(answer.replace("\r\n", "\n"))
    if len(fenced) > 1:
        raise Refused(f"it holds {len(fenced)} diffs, where one is asked for")
    text: str = fenced[0] if fenced else answer
    if not text.startswith(("diff --git ", "--- ")):
        raise Refused("it holds no diff" if text.strip() else "it is empty")
    for number, line in enumerate(text.split("\n"), 1):
        if strange := next((sign for sign in line if not (sign.isprintable() or sign == "\t")), None):
            raise Refused(f"line {number} of its diff holds the character {strange!a}, which does not show")
    return text if text.endswith("\n") else text + "\n"


def _post(where: Endpoint, body: bytes, seconds: float) -> bytes:
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "connection": "close",
        "user-agent": "touchstone",
    }
    if where.key:
        headers["authorization"] = f"Bearer {where.key}"
    link: http.client.HTTPConnection
    if where.scheme == "https":
        link = http.client.HTTPSConnection(where.host, where.port, timeout=seconds, context=ssl.create_default_context())
    else:
        link = http.client.HTTPConnection(where.host, where.port, timeout=seconds)
    end = time.monotonic() + seconds - 0.05

    def late() -> bool:
        return time.monotonic() >= end

    try:
        with _ends_after(link, seconds):
            link.request("POST", where.path, body, headers)
            response = link.getresponse()
            if late():
                raise TimeoutError  # to http.client a cut connection is the end of the headers
            _headers(response, where)
            answer = response.read(where.most_bytes + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if late():
            raise Refused(f"it did not answer within {where.seconds:g} s") from None
        raise _Busy(f"the connection failed ({type(error).__name__})") from None
    finally:
        link.close()
    if late():
        raise Refused(f"it did not answer within {where.seconds:g} s")
    if len(answer) > where.most_bytes:
        raise Refused(f"its answer is larger than {where.most_bytes >> 10} KiB; the rest was not read")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and len(answer) < int(length):
        raise _Busy("its answer was cut off")
    return answer


def _headers(response: http.client.HTTPResponse, where: Endpoint) -> None:
    status, kind = response.status, response.headers.get_content_type()
    if 300 <= status < 400:
        raise Refused(f"it redirects elsewhere (HTTP {status}); redirects are not followed, name the final address")
    if status in AGAIN:
        raise _Busy(f"HTTP {status}", _pause(response.headers.get("retry-after")))
    if status != 200:
        raise Refused(f"HTTP {status}" + (f"; is the key in `{KEY}` right?" if status in (401, 403) else ""))
    if kind != "application/json":
        raise Refused("its answer is not declared as JSON")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > where.most_bytes:
        raise Refused(f"its answer is larger than {where.most_bytes >> 10} KiB; nothing of it was read")


def _pause(told: str | None) -> float | None:
    """Seconds that a `retry-after` header asks for, as a number or a date; none when it says nothing that can be understood."""
    if not told:
        return None
    if re.fullmatch(r"\d{1,6}(\.\d+)?", told.strip()):
        return float(told)
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    return None


@contextmanager
def _ends_after(link: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Cut the connection when `seconds` are over: a server that sends a byte now and then never meets a socket's own timeout."""
    link.connect()
    wire = link.sock  # `link` lets go of it once the headers are there

    def cut() -> None:
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _text(body: bytes) -> str:
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Refused("its answer is no chat completion") from None
    if not isinstance(text, str):
        raise Refused("its answer holds no text")
    return text
