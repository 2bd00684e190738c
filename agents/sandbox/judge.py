"""Runs trusted tests against functions that live in another process: only data crosses, so nothing there can say `equal` to all.

The judge alone holds the descriptor its verdict goes out by. The candidate answers calls with JSON that is rebuilt here from plain
built-in types; an object with its own idea of `==`, a patched `assert` or an early exit stay on the other side.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from agents.sandbox import frames
from agents.sandbox.inside import decode, encode

HOUSE = str(Path(__file__).resolve().parents[2])
ANSWER = 16 << 20
"""Bytes of the largest answer to one call."""


class CandidateError(Exception):
    """The candidate is gone, answered nonsense, or raised an error that is no built-in one."""


def judge(tests: str, candidate: int, verdict: int) -> NoReturn:
    """Run `tests` with the candidate's public names in scope (and as module `candidate`), write the verdict, and exit."""
    sys.set_int_max_str_digits(0)
    passed, why = False, ""
    try:
        scope = _scope(candidate)
        sys.path[:] = [
            place for place in sys.path if place != HOUSE
        ]  # the program may have written there, where it lies below /tmp
        exec(compile(tests, "tests", "exec", dont_inherit=True), scope)
        passed = True
    except SystemExit as error:
        passed, why = error.code in (None, 0, False), f"the tests ended with code {error.code!r}"
    except BaseException as error:
        import traceback

        why = "".join(traceback.format_exception(error, limit=-3))[-4000:]
    frames.tell(verdict, passed=passed, why=why)
    os._exit(0)


def _scope(candidate: int) -> dict[str, Any]:
    hello = _answer(candidate)
    if "functions" not in hello:
        raise _raised(hello)
    module = types.ModuleType("candidate")
    for name, value in dict(hello["data"]).items():
        setattr(module, str(name), decode(value))
    for name in hello["functions"]:
        setattr(module, str(name), _proxy(candidate, str(name)))
    sys.modules["candidate"] = module
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    for name, value in vars(module).items():
        if not name.startswith("__") and not hasattr(
            builtins, name
        ):  # what is built in judges; the candidate's own is `candidate.NAME`
            setattr(main, name, value)
    return main.__dict__


def _proxy(candidate: int, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        request = {
            "call": name,
            "arguments": [encode(item) for item in arguments],
            "named": {key: encode(item) for key, item in named.items()},
        }
        try:
            frames.write(candidate, json.dumps(request).encode())
        except OSError:
            raise CandidateError(f"the candidate's process had ended before `{name}` was called") from None
        answer = _answer(candidate)
        if "value" not in answer:
            raise _raised(answer)
        return decode(answer["value"])

    call.__name__ = call.__qualname__ = name
    return call


def _answer(candidate: int) -> dict[str, Any]:
    try:
        body = frames.read(candidate, largest=ANSWER)
        answer = json.loads(body) if body is not None else None
    except (OSError, ValueError, RecursionError) as error:
        raise CandidateError(f"the candidate's answer is not data: {error}") from None
    if not isinstance(answer, dict):
        raise CandidateError("the candidate's process ended without an answer")
    return answer


def _raised(answer: dict[str, Any]) -> BaseException:
    """The nearest built-in exception of what the candidate raised; never one that would end the tests."""
    text = str(answer.get("text", ""))[:1000]
    for name in map(str, answer.get("error", ())):
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError:
            try:
                return kind(text)
            except TypeError:  # UnicodeDecodeError and its kin want more
                continue
    return CandidateError(text or "the candidate gave no answer that counts")
