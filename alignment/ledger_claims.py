"""What a rationale claims of the ledger, held against it: verdicts, how many runs, what a metric came to, and who was better by how much.

Only claims that can be read without doubt are looked at. A number that no run, mean or bound of the ledger comes to is a claim without a
run, and so is a gain that nothing was measured for. What is hoped for or planned is no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from alignment.facts import CANDIDATE_KINDS, Facts
from plan.nouns import Run, State, Verdict

RUNS, GATE, PATCH = "claims-name-runs", "gate-before-number", "plain-patch"
Claim = tuple[str, str, str, bool]
"""(clause, what was said, what is so, whether that is beyond doubt)."""
_COUNTS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
}
_COUNT = rf"(?:\d+|{'|'.join(_COUNTS)})"
_IDS = r"((?:`[^`\s]+`(?:, | and )?)+)"
_STATE = re.compile(rf"{_IDS} (?:is |are |still |all )*(fails?\b|unsure|not met|missed|passe[sd]|pass\b|hold[s]?\b|met\b)")
_AFTER = re.compile(rf"\bunsure after ({_COUNT}) seeds?\b", re.I)
_SEEN = re.compile(
    rf"\b(?:all|in|over|of|after|from|mean of|average of)(?: all| the)? ({_COUNT}) (?:registered |recorded |finished |measured )?(?:seeds|runs|repetitions)\b", re.I
)  # fmt: skip
_TRIALS = re.compile(
    rf"\b({_COUNT}) (?:of ({_COUNT}) trials|times out of ({_COUNT}))\b|\b({_COUNT}) trials of all candidates\b", re.I
)
_MET = re.compile(rf"\bmet `([^`\s]+)` in ({_COUNT}) of ({_COUNT}) trials\b", re.I)
_LINES = re.compile(r"\bpatch of (\d+) lines?\b", re.I)
_GREEN = re.compile(
    r"\b(?:contract|gate|tests?|checks?|causality)\b[^.;,]{0,30}\b(?:green|pass(?:es|ed)?|holds?|hold true|succeed(?:s|ed)?)\b",
    re.I,
)
_NOT = re.compile(r"\b(?:not|no|never|before|until|once|if|when|unless|whether|has to|have to|must|should)\b|n't\b", re.I)
_PLANNED = re.compile(r"\b(?:may|might|could|would|will|expect\w*|hope\w*|aim\w*|want\w*)\b", re.I)
_HOPED = re.compile(
    r"\b(?:may|might|could|should|would|will|expect\w*|hope\w*|likely|probabl\w*|perhaps|maybe|aim\w*|want\w*|need\w*|to be|let|try|if|until)\b",
    re.I,
)
_MEASURED = re.compile(
    r"\b(?:mean|average|median|score[ds]?|measured|result\w*|interval|reached|came to|run|runs|seed|seeds|accuracy|loss)\b", re.I
)
_NUMBER = r"(\d+(?:\.\d+)?)"
_DECIMAL = r"(\d*\.\d+)"
_GAIN = re.compile(
    rf"\b(?:better|worse|higher|lower|faster|slower|improve[sd]?|gain(?:s|ed)?|beats?|outperforms?|ahead|rose|risen|fell|fallen|dropped)\b[^.;]{{0,40}}?\bby {_NUMBER} ?(%|percent|x\b|times)"
    rf"|{_NUMBER} ?(%|percent|x|times) (?:better|worse|higher|lower|faster|slower|more accurate|ahead|improvement|gain)\b",
    re.I,
)  # fmt: skip


def claims(facts: Facts) -> Iterator[Claim]:
    """Every claim of the rationale that the ledger belies."""
    task, why = facts.decision.action.task, facts.decision.why
    runs = facts.situation.runs.get(task, ())
    trials = facts.situation.trials.get(task, ())
    verdicts: dict[str, list[Verdict]] = {}  # a metric may have two targets
    for one in facts.situation.verdicts:
        for name in (one.id, one.id.replace("::", ".")):
            verdicts.setdefault(name, []).append(one)
    yield from _states(why, verdicts)
    yield from _counts(why, runs, trials)
    yield from _hits(why, facts, trials)
    if (found := _LINES.search(why)) and facts.changes:
        text = facts.patch_text.splitlines()
        added, taken = (sum(line.startswith(sign) and not line.startswith(sign * 3) for line in text) for sign in "+-")
        if int(found[1]) not in (added, taken, added + taken):
            yield PATCH, found[0], f"the patch adds {added} lines and takes {taken} away", True
    mine = [one for one in facts.situation.verdicts if one.task == task]
    for step in re.split(r"(?<=[.!?])\s+|;\s+|\n+", why):
        red = [one for one in mine if one.reason.startswith("the gate of")]
        if red and (found := _GREEN.search(step)) and not _NOT.search(step):
            yield GATE, found[0], red[0].reason, True
        if not _PLANNED.search(step):
            yield from _figures(step, mine, runs, trials)
        if not _HOPED.search(step):
            yield from _gains(step, mine, runs, trials)


def _states(why: str, verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[Claim]:
    for names, word in _STATE.findall(why):
        for name in re.findall(r"`([^`]+)`", names):
            states = [one.state for one in verdicts.get(name, ())]
            if not states:
                if "::" in name:
                    yield RUNS, f"{name} {word}", "the ledger holds no such verdict", True
                continue
            said = word.lower()
            wanted = (
                (State.FAIL,) if said.startswith("fail") else (State.UNSURE,) if said == "unsure"
                else (State.FAIL, State.UNSURE, State.WAITING) if said in ("not met", "missed") else (State.PASS,)
            )  # fmt: skip
            if not set(states) & set(wanted):
                yield RUNS, f"{name} {word}", f"its verdict is {' and '.join(state.value for state in states)}", True


def _counts(why: str, runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[Claim]:
    for found in _AFTER.finditer(why):
        if _number(found[1]) != len(runs):
            yield RUNS, found[0], f"the ledger holds {len(runs)} runs of it", True
    for found in _SEEN.finditer(why):
        if _number(found[1]) > len(runs) + len(trials):
            yield RUNS, found[0], f"the ledger holds {len(runs) + len(trials)} runs of it, trials included", True
    for found in _TRIALS.finditer(why):
        hits, of, times, total = (0 if part is None else _number(part) for part in found.groups())
        of = of or times
        if of > len(trials) or hits > of or (total and total != len(trials)):
            yield RUNS, found[0], f"the ledger holds {len(trials)} trials of it", True


def _hits(why: str, facts: Facts, trials: Sequence[Run]) -> Iterator[Claim]:
    """`met x in k of n trials`, where the action names the candidate by its config alone."""
    details = facts.details
    if facts.patch_text or facts.decision.action.kind not in CANDIDATE_KINDS:
        return
    mine = [run for run in trials if (run.request.module, run.request.config) == (details.get("module"), details.get("config"))]
    for name, hits, of in _MET.findall(why):
        for one in facts.situation.verdicts:
            if name in (one.id, one.id.replace("::", ".")) and one.threshold is not None and mine:
                values = [run.metrics.get(one.target.metric) for run in mine]
                met = sum(value is not None and one.target.comparator.holds(value, one.threshold) for value in values)
                if (_number(hits), _number(of)) != (met, len(mine)):
                    yield RUNS, f"{hits} of {of} trials", f"it met `{one.id}` in {met} of {len(mine)}", True


def _figures(step: str, verdicts: Sequence[Verdict], runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[Claim]:
    """A number said of a metric that no run, mean or bound comes to; beyond doubt where it is said right after the metric's name."""
    known = {name: list(_known(name, verdicts, runs, trials)) for name in dict.fromkeys(one.target.metric for one in verdicts)}
    for name, values in known.items():
        told = rf"\b{re.escape(name)}\b`? (?:\w+ ){{0,3}}?(?:is|was|of|at|reach\w*|came to|comes to|stands at|equals|=) (?:\w+ )??{_DECIMAL}(?![\d.]| ?%)"
        for found in re.finditer(told, step, re.I):
            if values and not _among(found[1], values):
                yield RUNS, found[0], f"no run, mean or bound of `{name}` in the ledger comes to {found[1]}", True
                return
    if _MEASURED.search(step) or any(re.search(rf"\b{re.escape(name)}\b", step, re.I) for name in known):
        everything = [value for values in known.values() for value in values]
        everything += [abs(one - two) for values in known.values() for one in values for two in values]
        for said in re.findall(r"(?<![\w.=-])\d+\.\d+(?![\w.]|\.\d)", re.sub(r"`[^`]*`|\b[\w.]+ = \S+", "", step)):
            if everything and not _among(said, everything):
                yield RUNS, said, "no run, mean or bound in the ledger comes to that", False


def _among(said: str, values: Sequence[float]) -> bool:
    digits = len(said.partition(".")[2])
    return any(abs(value - float(said)) <= 0.5000001 * 10.0**-digits for value in values)


def _known(name: str, verdicts: Sequence[Verdict], runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[float]:
    for one in verdicts:
        if one.target.metric == name:
            yield from (
                value for value in (one.value, one.low, one.high, one.threshold, one.target.threshold.value) if value is not None
            )
            yield from one.values
    for side in (runs, trials, *_candidates(trials)):
        values = [run.metrics[name] for run in side if name in run.metrics]
        yield from values
        if values:
            yield from (fmean(values), median(values))


def _candidates(trials: Sequence[Run]) -> list[list[Run]]:
    """The trials of each candidate."""
    groups: dict[str, list[Run]] = {}
    for run in trials:
        groups.setdefault(repr((run.request.module, run.request.config, run.request.tree)), []).append(run)
    return list(groups.values())


def _gains(step: str, verdicts: Sequence[Verdict], runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[Claim]:
    """A gain by so much for which nothing was measured, or that no candidate's mean comes to."""
    for found in _GAIN.finditer(step):
        said, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
        if not trials:
            yield RUNS, found[0], "the ledger holds no run of anything but the champion", True
            continue
        ratios = [ratio for one in verdicts for ratio in _ratios(one.target.metric, runs, trials)]
        measured = [value for ratio in ratios for value in ((abs(ratio - 1) * 100,) if unit[0] in "%p" else (ratio, 1 / ratio))]
        if measured and not _among(said, measured):
            yield RUNS, found[0], "no candidate's runs differ by that much from the champion's", True


def _ratios(name: str, runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[float]:
    """Each candidate's mean over the champion's, and the other way round."""
    base = [run.metrics[name] for run in runs if name in run.metrics]
    if not base or not fmean(base):
        return
    for mine in _candidates(trials):
        values = [run.metrics[name] for run in mine if name in run.metrics]
        if values and fmean(values):
            yield fmean(values) / fmean(base)
            yield fmean(base) / fmean(values)


def _number(said: str) -> int:
    return int(said) if said.isdigit() else _COUNTS[said.lower()]
