"""How long to wait for a server that asks for patience, and what its answers have cost so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

SECONDARY = 60.0
"""Least seconds behind a secondary limit that names no time; doubled each time it comes again."""
MARGIN = 1.0
"""Seconds added to a moment the server names, because clocks differ."""


class Clock:
    """The time and how to let it pass; tests put one of their own in its place."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Let this many seconds pass."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Left:
    """What the server says of one of its limits."""

    remaining: int
    limit: int | None
    reset: float
    """When all of it is back, seconds since 1970."""


@dataclass(slots=True)
class Budget:
    """What a client has asked for, and what the server says is left."""

    requests: int = 0
    """All that were sent, free ones too."""
    free: int = 0
    """Answered 304: they do not count against the limit."""
    waited: float = 0.0
    """Seconds spent waiting because the server asked for it."""
    left: dict[str, Left] = field(default_factory=dict)
    """By resource: `core` is REST, `graphql` has a limit of its own."""

    def take_in(self, resource: str, headers: Mapping[str, str]) -> None:
        """Note what the headers of an answer say; what is no number is left as it was."""
        limit, remaining, reset = (_number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset"))
        if remaining is not None and reset is not None:
            self.left[resource] = Left(int(remaining), None if limit is None else int(limit), reset)

    def pause(self, resource: str, now: float) -> float:
        """Seconds before the next request may be sent."""
        left = self.left.get(resource)
        return left.reset + MARGIN - now if left and left.remaining == 0 and left.reset > now else 0.0

    def told(self, now: float) -> str:
        """One line about it."""
        words = f"{self.requests} request{'' if self.requests == 1 else 's'}, {self.free} of them free (304)"
        for resource, left in sorted(self.left.items()):
            words += f"; {resource}: {left.remaining}{'' if left.limit is None else f' of {left.limit}'} left"
            words += f" until {(left.reset - now) / 60:.0f} min from now" if left.reset > now else ""
        return words + (f"; waited {self.waited:.0f} s" if self.waited else "")


def asked_for(status: int, headers: Mapping[str, str], words: str, *, now: float, times: int) -> float | None:
    """Seconds that an answer of this status asks to wait; None when it is not about a limit.

    `times`: how often in a row a limit was met before. `retry-after` counts first, then a primary limit that is used up, then
    a secondary limit, which needs a minute at least and twice as long each further time.
    """
    if status not in (403, 429):
        return None
    if (after := headers.get("retry-after")) is not None:
        seconds = _seconds(after, now)
        return SECONDARY * 2.0**times if seconds is None else max(seconds, MARGIN)
    reset = _number(headers.get("x-ratelimit-reset"))
    if _number(headers.get("x-ratelimit-remaining")) == 0 and reset is not None:
        return max(reset - now, 0.0) + MARGIN
    if status == 429 or "rate limit" in words.lower() or "abuse" in words.lower():
        return SECONDARY * 2.0**times
    return None


def _seconds(after: str, now: float) -> float | None:
    if (number := _number(after)) is not None:
        return number
    try:
        moment = float(parsedate_to_datetime(after).timestamp())
    except (ValueError, TypeError):
        return None
    return moment - now


def _number(text: str | None) -> float | None:
    """A count or a moment as a header writes it; None for anything else."""
    text = (text or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
