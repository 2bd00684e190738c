"""Measurements one at a time, each kept in the ledger: for comparisons that belong to no plan, and want nothing to run beside them.

What the ledger has already is not measured again, whoever measured it. An attempt that is interrupted is recorded as killed; it goes on
from its checkpoint when the same is asked for again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType

from bench.autobench import AutoBench, Outcome
from bench.events import Started, attempt_key
from bench.fold import Facts
from bench.identity import Identifier, Identity
from bench.ledger import Ledger
from bench.overlay import Trees, no_trees
from plan.nouns import Limits, Request, Run, Status

ATTEMPTS = 3
"""How often a measurement that somebody else killed is started again."""


class OneByOne:
    """Measures requests in turn, over a ledger that the caller holds; `work` is the folder of its measurements. Close it, or use `with`."""

    def __init__(self, ledger: Ledger, *, work: Path, trees: Trees = no_trees) -> None:
        self._ledger, self._work, self._trees = ledger, work, trees
        self._identifier, self._facts, self._bench = Identifier(trees=trees), Facts(), AutoBench()

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bench.close()

    @property
    def facts(self) -> Facts:
        """What the ledger holds by now."""
        for event in self._ledger.events(after=self._facts.seq):
            self._facts.advance(event)
        return self._facts

    def key(self, request: Request) -> str:
        """What its run is known by; KeyError and LookupError as of `Identifier.identify`."""
        return self._identifier.identify(request).key

    def known(self, request: Request) -> Run | None:
        """Its result, where the ledger has one."""
        return self.facts.run(self.key(request))

    def run(self, request: Request, *, limits: Limits | None = None) -> Run:
        """Its result: from the ledger, else measured now. KeyError and LookupError as of `Identifier.identify`."""
        identity = self._identifier.identify(request)
        for left in reversed(range(ATTEMPTS)):
            run = self.facts.run(identity.key) or self._measure(request, identity, limits or Limits(), last=not left)
            if run.status is not Status.KILLED:
                return run
        raise AssertionError("the last attempt is never killed")

    def _measure(self, request: Request, identity: Identity, limits: Limits, *, last: bool) -> Run:
        folder = self._work / identity.key[:16]
        folder.mkdir(parents=True, exist_ok=True)
        attempt = self.facts.next_attempt(identity.key)
        self._ledger.append("code", identity.code.digest, identity.code)
        begun = Started(tasks=(), request=request, limits=limits, identity=identity.parts)
        self._ledger.append("started", attempt_key(identity.key, attempt), begun)
        tree = self._trees(request.tree) if request.tree else None
        child = self._bench.start(request, limits=limits, folder=folder, key=identity.key, tree=tree)
        try:
            outcome = child.wait()
        finally:
            if child.outcome() is None:
                child.kill()
                outcome = child.wait(5.0) or child.end()
                self._keep(request, identity, outcome, attempt, last=False)
        assert outcome is not None  # it waits without a time limit
        run = self._keep(request, identity, outcome, attempt, last=last)
        if run.status is Status.OK:
            shutil.rmtree(folder, ignore_errors=True)
        return run

    def _keep(self, request: Request, identity: Identity, outcome: Outcome, attempt: int, *, last: bool) -> Run:
        given_up = last and outcome.status is Status.KILLED
        run = Run(
            key=identity.key,
            request=request,
            status=Status.CRASHED if given_up else outcome.status,
            message=f"given up after {ATTEMPTS} attempts: {outcome.message}" if given_up else outcome.message,
            log_tail=outcome.log_tail,
            cost=outcome.cost,
            metrics=outcome.metrics if outcome.status is Status.OK else {},
            series=outcome.series if outcome.status is Status.OK else {},
            facts={**outcome.facts, "identity": identity.parts},
            attempt=attempt,
        )
        self._ledger.append("run", attempt_key(identity.key, attempt), run)
        return run
