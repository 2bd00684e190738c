"""The words and figures every face uses, so that terminal, Markdown and HTML say the same thing."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.hold import DEFAULT_LEDGER
from bench.judge import DISPLAYED
from bench.scoreboard import Scoreboard
from plan import catalogue
from plan.nouns import Comparator, RuleKind, Run, State, Target, Task, Verdict
from plan.units import SCALES, show

SIGN = {Comparator.LT: "<", Comparator.LE: "≤", Comparator.EQ: "=", Comparator.GE: "≥", Comparator.GT: ">"}
WORD = {State.PASS: "✓ pass", State.FAIL: "✗ FAIL", State.UNSURE: "~ unsure", State.WAITING: "… waiting"}
GLYPH = {state: word[0] for state, word in WORD.items()}
COUNTED = {
    State.PASS: ("holds", "hold"),
    State.FAIL: ("fails", "fail"),
    State.UNSURE: ("unsure",) * 2,
    State.WAITING: ("waiting",) * 2,
}
SPREAD = "†"
"""Marks what stands under `95% interval` and is none."""
SHORT = "‡"
"""Marks what stands under `95% interval` and covers less, which is said beside it."""
SHARES = frozenset({"accuracy"})
"""Metrics that are a share of 1 by their definition."""
INTERVAL_RULES = (RuleKind.LOWER, RuleKind.UPPER, RuleKind.ANYTIME)
ASCII = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "…": "...",
        "≥": ">=",
        "≤": "<=",
        "≠": "!=",
        "–": "-",
        "−": "-",
        "·": "|",
        "→": "->",
        "×": "x",
        "†": "*",
        "‡": "#",
        "◆": "*",
        "◇": "~",
        "○": "o",
        "\u202f": " ",
        "¹": "[1]",
        "²": "[2]",
        "³": "[3]",
        "⁴": "[4]",
        "⁵": "[5]",
        "⁶": "[6]",
        "⁷": "[7]",
        "⁸": "[8]",
        "⁹": "[9]",
        "⁰": "[0]",
        "─": "-",
    }
)
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """`text` without terminal escapes, control characters, direction overrides and lone surrogates; tabs and newlines stay."""
    return UNPRINTABLE.sub("\ufffd", ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target in words."""

    verdict: Verdict
    target: str
    measured: str
    interval: str
    n: str
    margin: str
    word: str
    note: int | None
    """Number of the footnote that spells a relative threshold out."""
    last: bool
    """Whether the plan registered no look beyond the seeds judged."""


def rows(board: Scoreboard) -> tuple[Row, ...]:
    """The table's rows in the plan's order."""
    notes = {note: number for number, note in enumerate(relative(board), 1)}
    made = []
    for verdict in board.verdicts:
        target, unit = verdict.target, unit_of(board.plan.task(verdict.task), verdict.target)
        note = notes.get(_relation(verdict))
        made.append(
            Row(
                verdict=verdict,
                target=f"{SIGN[target.comparator]} {threshold(verdict, unit)}",
                measured=figure(verdict.value, unit),
                interval=interval(*possible(target.metric, verdict.low, verdict.high), unit) + _mark(verdict),
                n=str(verdict.n),
                margin=percent(verdict.margin),
                word=WORD[verdict.state],
                note=note,
                last=verdict.n >= board.plan.task(verdict.task).seeds.most,
            )
        )
    return tuple(made)


def _mark(verdict: Verdict) -> str:
    if _is_spread(verdict):
        return f" {SPREAD}"
    return f" {SHORT} {rate(verdict.confidence or 0.0)}" if _is_short(verdict) else ""


def _is_spread(verdict: Verdict) -> bool:
    return verdict.target.rule.kind is RuleKind.EVERY_SEED and verdict.low is not None


def _is_short(verdict: Verdict) -> bool:
    return verdict.confidence is not None and verdict.confidence < DISPLAYED


def spread(board: Scoreboard) -> str:
    """The footnote on rows that show what their seeds span instead of an interval; empty when there are none."""
    found = any(map(_is_spread, board.verdicts))
    return f"{SPREAD} smallest to largest of the seeds: `every seed` rests on no interval" if found else ""


def short(board: Scoreboard) -> str:
    """The footnote on intervals that cover less than the heading says; empty when there are none."""
    found = any(map(_is_short, board.verdicts))
    return f"{SHORT} covers the median with that probability only: so few seeds have no 95 % interval" if found else ""


def relative(board: Scoreboard) -> tuple[str, ...]:
    """The footnotes: what each relative threshold is a factor of, each said once."""
    return tuple(dict.fromkeys(text for verdict in board.verdicts if (text := _relation(verdict))))


def champions(board: Scoreboard) -> tuple[str, ...]:
    """The footnotes: for which tasks something else stands than what the plan says, and what it changed."""
    return tuple(f"{task} as its champion {told} does it" for task, told in board.champions.items())


def _relation(verdict: Verdict) -> str:
    threshold = verdict.target.threshold
    if not threshold.task:
        return ""
    shown = "; shown is the seed that comes off worst" if verdict.target.rule.kind is RuleKind.EVERY_SEED else ""
    return f"{threshold.value:g} × {threshold.task}.{threshold.metric or verdict.target.metric}, paired by seed{shown}"


def unit_of(task: Task, target: Target) -> str:
    """The base unit of the target's metric: as declared, else the one that the unit written in the plan belongs to."""
    written = target.threshold.unit
    declared = metric_unit(task.module, task.benchmark, target.metric)
    if declared or written in ("", "%"):
        return declared
    return next((base for base, scales in SCALES.items() if written in scales), written)


@cache
def metric_unit(module: str, benchmark: str, metric: str) -> str:
    """The base unit that the benchmark or the module declares for a metric; empty when neither names one."""
    for kind, name in (("benchmark", benchmark), ("module", module)):
        entry = catalogue.shelf(kind).get(name)
        unit = (entry.arguments.get("metrics") or {}).get(metric) if entry else None
        if unit is not None:
            return str(unit)
    return ""


def figure(value: float | None, unit: str) -> str:
    """A number with its unit, or a dash."""
    return "–" if value is None or not math.isfinite(value) else show(value, unit)


def threshold(verdict: Verdict, unit: str) -> str:
    """The threshold as a number where it is known, else as the plan says it."""
    wish = verdict.target.threshold
    if verdict.threshold is not None:
        return figure(verdict.threshold, unit)
    return f"{wish.value:g} × {wish.task}" if wish.task else figure(wish.value, unit)


def interval(low: float | None, high: float | None, unit: str) -> str:
    """`low – high`, the unit said once where both ends share it; an open end is a dash."""
    if low is None and high is None:
        return "–"
    first, last = figure(low, unit), figure(high, unit)
    number, _, suffix = first.rpartition(" ")
    if number and last.endswith(" " + suffix):
        first = number
    return f"{first} – {last}"


def possible(metric: str, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """The part of an interval that its metric can take: the t of an accuracy near 1 reaches beyond it. For display alone."""
    if metric not in SHARES:
        return low, high
    return None if low is None else max(0.0, low), None if high is None else min(1.0, high)


def percent(share: float | None) -> str:
    """A signed percentage: `+0.6 %`, `−38 %`."""
    if share is None or not math.isfinite(share):
        return "–"
    points = abs(share) * 100
    digits = f"{points:.1f}" if points < 9.95 else f"{points:.0f}" if points < 9999.5 else f"{points:.1g}"
    return f"{'−' if share < 0 else '+'}{digits} %"


def rate(error: float) -> str:
    """An error rate as people say it: `5 %`."""
    return f"{error * 100:.3g} %"


def duration(seconds: float) -> str:
    """`3 s`, `12 m 04 s`, `1 h 05 m`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} m {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60:02d} m"


def tally(board: Scoreboard) -> str:
    """`2 hold · 1 fails · 1 unsure · 1 waiting`; what does not occur is left out."""
    counts = [(state, board.count(state)) for state in State]
    return " · ".join(f"{n} {COUNTED[state][n > 1]}" for state, n in counts if n) or "no targets"


def claimed(verdict: Verdict) -> float | None:
    """The error rate a pass or fail was given at, or, while there is neither, the one its rule declares; None for none."""
    rule = verdict.target.rule
    if verdict.state in (State.PASS, State.FAIL):
        return verdict.error
    if rule.kind in INTERVAL_RULES:
        return 1 - (rule.level if rule.level is not None else 0.95)
    return rule.level if rule.kind is RuleKind.P_VALUE else None


def declared(verdicts: Iterable[Verdict]) -> str:
    """One sentence on the error rates that the plan's rules declare."""
    rules = [verdict.target.rule for verdict in verdicts]
    parts = []
    if interval_rules := [rule for rule in rules if rule.kind in INTERVAL_RULES]:
        worst = max(1 - (rule.level if rule.level is not None else 0.95) for rule in interval_rules)
        parts.append(f"{many(len(interval_rules), 'interval rule')} at most {rate(worst)} per target")
    if p_rules := [rule for rule in rules if rule.kind is RuleKind.P_VALUE]:
        worst = max(rule.level or 0.0 for rule in p_rules)
        parts.append(f"{many(len(p_rules), 'p-rule')}, Holm-corrected, at most {rate(worst)} together")
    if plain := len(rules) - len(interval_rules) - len(p_rules):
        parts.append(f"{many(plain, 'plain rule')} claim{'s' if plain == 1 else ''} no rate")
    return "declared error: " + "; ".join(parts) if parts else ""


def moved(board: Scoreboard) -> str:
    """That the declared rates are those of the last plan alone, where a person let an earlier one be weakened."""
    if not board.moved:
        return ""
    return f"goalposts moved in this ledger, and acknowledged: {'; '.join(board.moved)}; the declared error counts from the last plan on"


def rules(board: Scoreboard) -> str:
    """Which rules the plan judges by, and how often."""
    counts = Counter(verdict.target.rule.text for verdict in board.verdicts)
    return "rules: " + ", ".join(f"{text} ({n})" if n > 1 else text for text, n in counts.items())


def to_explain(verdict: Verdict) -> bool:
    """Whether a line says what became of it: it fails, is unsure, or waits for what waiting alone does not bring."""
    blocked = any(words in verdict.reason for words in ("is red: ", "needs `", "nothing to compare with"))
    return verdict.state in (State.FAIL, State.UNSURE) or (verdict.state is State.WAITING and blocked)


def reason(row: Row) -> str:
    """Why a target is not a pass, in one line."""
    verdict = row.verdict
    said = " ".join(clean(verdict.reason).split()) or f"{row.measured} for a target of {row.target}"
    if verdict.state is State.UNSURE and verdict.more_seeds:
        said += f"; about {many(verdict.more_seeds, 'more seed')} would decide it"
    if verdict.state is State.UNSURE and row.last:
        said += f"; the plan registered no further look after {many(verdict.n, 'seed')}"
    return said


def place(board: Scoreboard, verdict: Verdict) -> str:
    """`plan/Plan.md:35`, what an editor opens."""
    return f"{board.plan.path}:{verdict.target.line}"


def sure(confidence: float | None) -> str:
    """How sure a guard is, behind what it says; nothing where it gives no probability."""
    return "" if confidence is None else f" (confidence {confidence:.2f})"


def details(asked: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """What an action asks for: the name and the words of each entry that is not empty; of several candidates each by its number."""
    for name, value in sorted(asked.items()):
        if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            yield from ((f"{name.removesuffix('s')} {place}", _on_a_line(item)) for place, item in enumerate(value, 1))
        elif value not in ("", {}, [], ()):
            yield name, _on_a_line(value)


def _on_a_line(value: object) -> str:
    """Tables by the paths of their entries, plain entries first; a candidate's config needs no path of its own."""
    if isinstance(value, Mapping):
        return ", ".join(f"{path} {_on_a_line(item)}" for path, item in _leaves(value, ""))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_on_a_line, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _leaves(table: Mapping[str, object], above: str) -> Iterator[tuple[str, object]]:
    for name, item in sorted(table.items(), key=lambda entry: (isinstance(entry[1], Mapping), entry[0])):
        path = above if name == "config" else f"{above}{name}"
        if isinstance(item, Mapping):
            yield from _leaves(item, path + "." if path else "")
        elif item not in ("", [], ()):
            yield path, item


def log_lines(run: Run) -> list[str]:
    """The end of what a run printed, without the last lines that its message says already."""
    lines = run.log_tail.rstrip().splitlines()
    while lines and lines[-1].strip() in run.message:
        lines.pop()
    return lines


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few names and how many are left out."""
    known = list(names)
    return " ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def command(verdict: Verdict, ledger: str = "") -> str:
    """The pasteable next step."""
    return f"orchestrate why {verdict.id}{beside(ledger)}"


def beside(ledger: str) -> str:
    """The option that names the ledger; nothing for the file that is meant without it, and for a server, whose password nobody shows."""
    usual = not ledger or "://" in ledger or Path(ledger) == Path(DEFAULT_LEDGER).resolve()
    return "" if usual else f" --ledger {shlex.quote(ledger)}"


def many(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def machine(board: Scoreboard) -> str:
    """The machine of the latest session in one line."""
    facts = board.sessions[-1].machine if board.sessions else {}
    words = {name: clean(str(fact)) for name, fact in sorted(facts.items())}
    said = ", ".join(([words.pop("machine")] if "machine" in words else []) + [f"{name} {word}" for name, word in words.items()])
    return f"machine: {said}" if said else ""


def held(board: Scoreboard) -> str:
    """`2 of 5 targets hold`."""
    return f"{board.count(State.PASS)} of {len(board.verdicts)} targets hold"
