"""A duel's answer computed again from its terms and the runs it names, to the bit."""

from __future__ import annotations

from agents.champions import Terms, terms_of
from agents.duels import ERROR, number
from bench import promotion
from bench.fold import Case, Facts
from plan.decision import Bout


def replayed(case: Case, facts: Facts) -> str | None:
    """What differs from what the ledger says of the duel; empty when nothing does, None when it was not decided by pairs."""
    terms, bout = terms_of(case), case.bout
    if terms is None or bout is None or bout.e_value is None:
        return None
    runs = {run.id: run for run in facts.runs.values()}
    missing = [id for id in bout.runs if id not in runs]
    if missing:
        return f"the ledger does not hold {missing[0]}"
    numbers = [number(runs[id], terms) for id in bout.runs]
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if pairs != bout.pairs:
        return "its pairs are not the numbers of its runs"
    return _differing(_again(pairs, bout, terms), bout)


def _again(pairs: tuple[tuple[float | None, float | None], ...], bout: Bout, terms: Terms) -> promotion.Duel:
    return promotion.duel(
        pairs,
        better="less" if terms.better == "less" else "more",
        error=promotion.share(terms.k, ERROR),
        most=terms.most,
        margin=terms.margin,
    )


def _differing(again: promotion.Duel, bout: Bout) -> str:
    told = {"answer": bout.answer, "e-value": bout.e_value, "error": bout.error, "low": bout.low, "high": bout.high}
    found = {"answer": again.answer.value, "e-value": again.e_value, "error": again.error, "low": again.low, "high": again.high}
    return "; ".join(f"{name} {told[name]} is {found[name]}" for name in told if told[name] != found[name])
