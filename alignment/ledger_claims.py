"""What a rationale claims of the ledger, held against it: verdicts, how many runs, what a metric came to, and who was better by how much.

Only claims that can be read without doubt are looked at. A number that no run, mean or bound of the ledger comes to is a claim without a
run, and so is a gain that nothing was measured for. What is hoped for or planned is no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from alignment.asserted import conditional, denied, hoped, of_others, sentence
from alignment.facts import CANDIDATE_KINDS, Facts
from alignment.gains_said import among, candidates, gains, middle
from alignment.settings_said import COUNTS
from plan.nouns import Run, State, Verdict

RUNS, GATE = "claims-name-runs", "gate-before-number"
MANY = 200
"""Numbers of which the differences are looked at."""
Claim = tuple[str, str, str, bool]
"""(clause, what was said, what is so, whether that is beyond doubt)."""
_COUNT = rf"(?:\d{{1,9}}|{'|'.join(COUNTS)})"
_IDS = r"((?:`[^`\s]{1,120}`(?:, | and )?){1,20})"
_NOT = r"(?:not|never|isn't|aren't|wasn't|weren't|hasn't|haven't|doesn't|don't|didn't|no longer)"
_BEING = rf"((?:(?:is|are|was|were|has|have|been|does|do|did|still|all|already|now|long|both|yet|again|just|clearly|only|{_NOT}) ){{0,5}})"
_STATES = r"(fail(?:s|ed)?|unsure|undecided|miss(?:es|ed)|pass(?:es|ed)?|holds?|met|achieved|reached|satisfied|fulfilled|red|green|open)\b(?! (?:a |an |about |only |just |in )?\d)"
_STATE = re.compile(rf"{_IDS} {_BEING}{_STATES}", re.I)
_TARGET = re.compile(
    rf"\b(?:the|our|its|this|both|all|every|each) (?:the )?(?:target|goal|threshold|bar|row|bound|requirement)s? {_BEING}{_STATES}",
    re.I,
)
_AFTER = re.compile(rf"\bunsure after ({_COUNT}) seeds?\b", re.I)
_SEEN = re.compile(
    rf"\b(?:all|in|over|of|after|from|mean of|average of)(?: all| the)? ({_COUNT}) (?:registered |recorded |finished |measured )?(?:seeds|runs|repetitions)\b", re.I
)  # fmt: skip
_TRIALS = re.compile(
    rf"\b({_COUNT}) (?:out )?of (?:the |all |its )?({_COUNT}) (?:trials|runs|seeds)\b|\b({_COUNT}) times out of ({_COUNT})\b|\b({_COUNT}) trials of all candidates\b", re.I
)  # fmt: skip
_MET = re.compile(rf"\bmet `([^`\s]{{1,120}})` in ({_COUNT}) of ({_COUNT}) trials\b", re.I)
_GREEN = re.compile(
    r"\b(?:contract|gate|tests?|checks?|causality)\b[^.;,]{0,30}\b(?:green|clean|pass(?:es|ed)?|holds?|hold true|succeed(?:s|ed)?)\b",
    re.I,
)
_UNLESS = re.compile(r"\b(?:not|no|never|before|until|once|if|when|unless|whether|has to|have to|must|should)\b|n't\b", re.I)
_MEASURED = re.compile(
    r"\b(?:mean|average|median|score[ds]?|measured|result\w*|interval|reached|came to|run|runs|seed|seeds|accuracy|loss)\b", re.I
)
_DECIMAL = r"(\d{0,9}\.\d{1,12})"
_UP_TO = r"(?:(?!\b(?:below|above|under|over|than|short|miss\w*|least|most|from|within|by|to|beyond)\b)[^.;,]){0,30}?"
_IN_RUN = re.compile(
    rf"(?<![\w.]){_DECIMAL}(?! ?%) (?:\w+ )?(?:in|on|from|by|for|of) (?:run )?`?(r[0-9a-f]{{8}})\b|\b(r[0-9a-f]{{8}})\b`? (?:scored|has|had|shows|showed|came to|reached|got|gave|with|at|is|was) (?:\w+ )?{_DECIMAL}(?![\w.]| ?%)", re.I
)  # fmt: skip
_MEAN_OF = re.compile(
    rf"\b(?:mean|average|median)\b{_UP_TO}(?<![\w.]){_DECIMAL}(?! ?%)(?:[^.;,]{{0,20}}?\b(?:over|of|in|from) (?:all |the |its )?({_COUNT}) (?:runs|seeds|trials|repetitions)\b)?"
    rf"|(?<![\w.]){_DECIMAL} (?:on|in|as) (?:the |an? )?(?:mean|average|median)(?: (?:over|of|in|from) (?:all |the |its )?({_COUNT}) (?:runs|seeds|trials|repetitions)\b)?", re.I
)  # fmt: skip
_MOVED = rf"(?: \\w+){{0,3}}? (?:went|rose|climbed|grew|fell|sank|dropped|improved|moved|jumped)(?: up| down)?(?: from {_DECIMAL})?(?: up| down)? to {_DECIMAL}(?![\\d.]| ?%)"
_SCORED = re.compile(
    r"\b(?:measured|scored|reached|averaged|achieved|attained|got|came to)(?: (?:just|only|about|around|roughly|some))? $", re.I
)
_NO_UNIT = re.compile(
    r"\W*$|[,.;:)](?!\d)|,? (?:in|on|with|for|at|over|from|by|as|where|when|and|but|so|while|against|than)\b", re.I
)
_NOBODY = re.compile(rf"\b(?:{_NOT}|none|no|nobody|nothing|neither|nor|hardly|few|nowhere)\b", re.I)
_EVERY = re.compile(
    rf"\b(above|over|cleared?|clears|exceed(?:s|ed)?|reach(?:es|ed)?|at least|more than|below|under|at most|less than) {_DECIMAL}(?! ?%) (?:in|on|for|over) (?:(?:all|every|both|each)(?: of)?(?: the| its)?(?: {_COUNT})?) (?:\w+ )?(?:trials?|runs?|seeds?)\b", re.I
)  # fmt: skip


def claims(facts: Facts) -> Iterator[Claim]:
    """Every claim of the rationale that the ledger belies."""
    task, why = facts.decision.action.task, facts.why
    runs = facts.situation.runs.get(task, ())
    trials = facts.situation.trials.get(task, ())
    verdicts: dict[str, list[Verdict]] = {}  # a metric may have two targets
    for one in facts.situation.verdicts:
        for name in (one.id, one.id.replace("::", ".")):
            verdicts.setdefault(name, []).append(one)
    mine = [one for one in facts.situation.verdicts if one.task == task]
    yield from _states(why, verdicts, mine)
    yield from _counts(why, runs, trials)
    yield from _hits(why, facts, trials)
    red = [one for one in mine if one.reason.startswith("the gate of")]
    for step in re.split(r"(?<=[.!?])\s+|;\s+|\n+", why):
        if red and (found := _GREEN.search(step)) and not _UNLESS.search(step):
            yield GATE, found[0], red[0].reason, True
        elsewhere = list(_elsewhere(step, facts))
        for claim in _figures(step, mine, runs, trials):
            figures = re.findall(_DECIMAL, claim[1])
            if not figures or not all(among(figure, elsewhere) for figure in figures):
                yield claim
        yield from gains(step, mine, runs, trials)


def _elsewhere(step: str, facts: Facts) -> Iterator[float]:
    """What the ledger holds of the other tasks that a step names, or of which it names a run."""
    view, said = facts.situation, set(re.findall(r"[\w-]+", step))
    for task in {verdict.task for verdict in view.verdicts} - {facts.decision.action.task}:
        runs, trials = view.runs.get(task, ()), view.trials.get(task, ())
        if said & {task, *(run.id for run in (*runs, *trials))}:
            verdicts = [verdict for verdict in view.verdicts if verdict.task == task]
            for name in {verdict.target.metric for verdict in verdicts}:
                yield from _known(name, verdicts, runs, trials)


def _states(why: str, verdicts: Mapping[str, Sequence[Verdict]], mine: Sequence[Verdict]) -> Iterator[Claim]:
    """A state that none of the verdicts has that may be meant."""
    for found in _STATE.finditer(why):
        for name in re.findall(r"`([^`]+)`", found[1]):
            known = verdicts.get(name, ())
            if not known and "::" in name and not _aside(why, found):
                yield RUNS, f"{name} {found[3]}", "the ledger holds no such verdict", True
            elif known and not _aside(why, found) and not {one.state for one in known} & _meant(found[2], found[3]):
                yield RUNS, f"{name} {found[2]}{found[3]}", f"its verdict is {_told(known)}", True
    for found in _TARGET.finditer(why):
        if mine and not _aside(why, found) and not {one.state for one in mine} & _meant(found[1], found[2]):
            yield RUNS, found[0], f"its verdict is {_told(mine)}", True


def _meant(being: str, word: str) -> set[State]:
    """States of which `is still not met` speaks."""
    short, off = {State.FAIL, State.UNSURE, State.WAITING}, re.search(_NOT, being, re.I) is not None
    said = word.lower()
    if said in ("unsure", "undecided"):
        return set(State) - {State.UNSURE} if off else {State.UNSURE}
    if said.startswith("fail"):
        return set(State) - {State.FAIL} if off else {State.FAIL}
    if said.startswith("miss") or said in ("red", "open"):
        return {State.PASS, State.UNSURE, State.WAITING} if off else short
    return short if off else {State.PASS}


def _told(verdicts: Sequence[Verdict]) -> str:
    return " and ".join(dict.fromkeys(one.state.value for one in verdicts))


def _aside(text: str, found: re.Match[str]) -> bool:
    """Whether it is denied, hoped for, a condition or what others found."""
    start, end = found.span()
    return denied(text, start) or hoped(text, start, end) or conditional(text, start) or of_others(text, start, end)


def _counts(why: str, runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[Claim]:
    for found in _AFTER.finditer(why):
        if _number(found[1]) != len(runs):
            yield RUNS, found[0], f"the ledger holds {len(runs)} runs of it", True
    for found in _SEEN.finditer(why):
        if _number(found[1]) > len(runs) + len(trials) and not hoped(why, *found.span()) and not of_others(why, *found.span()):
            yield RUNS, found[0], f"the ledger holds {len(runs) + len(trials)} runs of it, trials included", True
    for found in _TRIALS.finditer(why):
        hits, of, times, so_many, total = (0 if part is None else _number(part) for part in found.groups())
        hits, of = hits or times, of or so_many
        most = len(trials) if "run" not in found[0] and "seed" not in found[0] else len(runs) + len(trials)
        if (of > most or hits > of or (total and total != len(trials))) and not of_others(why, *found.span()):
            yield RUNS, found[0], f"the ledger holds {most} {'trials' if most == len(trials) else 'runs'} of it", True


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
    """A number said of a metric that no run, mean or bound comes to; beyond doubt where it is said right after the metric's name, or of so many runs."""
    known = {name: list(_known(name, verdicts, runs, trials)) for name in dict.fromkeys(one.target.metric for one in verdicts)}
    if (found := _IN_RUN.search(step)) and not _aside(step, found):
        said, id = found[1] or found[4], found[2] or found[3]
        its = [value for run in (*runs, *trials) if run.id == id for value in run.metrics.values()]
        if its and not among(said, its):
            yield RUNS, found[0], f"no metric of {id} comes to {said}", True
            return
    if (found := _MEAN_OF.search(step)) and not _aside(step, found):
        said, count = found[1] or found[3], found[2] or found[4]
        sides = [side for side in (runs, trials, *candidates(trials)) if not count or len(side) == _number(count)]
        means = [
            value
            for name in known
            for side in sides
            for value in middle([run.metrics[name] for run in side if name in run.metrics])
        ]
        if means and not among(said, means):
            sure = bool(count) or _scored(step, *found.span(1 if found[1] else 3))
            yield RUNS, found[0], f"no {'mean' if not count else f'mean of {count}'} in the ledger comes to {said}", sure
            return
    if (found := _EVERY.search(step)) and known and not _aside(step, found):
        down = found[1].lower() in ("below", "under", "at most", "less than")
        series = [
            [run.metrics[name] for run in side if name in run.metrics] for name in known for side in (runs, *candidates(trials))
        ]
        if not any(
            side and all((value <= float(found[2])) if down else (value >= float(found[2])) for value in side) for side in series
        ):
            yield RUNS, found[0], "of neither the champion nor a candidate is that so in all runs", True
            return
    for name, values in known.items():
        word = re.escape(name)
        told = rf"\b{word}\b`?(?: ?[=:] ?| (?:\w+ ){{0,3}}?(?:is|was|of|at|reach\w*|came to|comes to|stands at|equals|=) (?:\w+ )??){_DECIMAL}(?![\d.]| ?%)"
        for found in re.finditer(told, step, re.I):
            if values and not among(found[1], values) and not _aside(step, found):
                yield RUNS, found[0], f"no run, mean or bound of `{name}` in the ledger comes to {found[1]}", True
                return
        for found in re.finditer(rf"\b{word}\b`?{_MOVED}", step, re.I):
            ends = [end for end in found.groups() if end]
            if values and not all(among(end, values) for end in ends) and not _aside(step, found):
                yield RUNS, found[0], f"`{name}` did not do that in any run, mean or bound of the ledger", True
                return
    if _MEASURED.search(step) or any(re.search(rf"\b{re.escape(name)}\b", step, re.I) for name in known):
        everything = [value for values in known.values() for value in values]
        everything += [abs(one - two) for one, two in combinations(everything[:MANY], 2)]
        plain = re.sub(r"`[^`]*`|\b[\w.]{1,80} = \S+", lambda gone: " " * len(gone[0]), step)
        for found in re.finditer(r"(?<![\w.=-])(\d{1,9}\.\d{1,12}|\d{1,3}(?:\.\d{1,6})? ?(?:%|percent\b))(?![\w.]|\.\d)", plain):
            said = found[1]
            if said[-1] in "%t":
                said = (
                    _as_share(said)
                    if re.search(
                        r"\b(?:scored?|mean|average|accuracy|reached)\W+(?:\w+\W+){0,2}$", plain[: found.start()][-60:], re.I
                    )
                    else ""
                )
            if said and everything and not among(said, everything) and not _aside(plain, found):
                yield RUNS, found[1], "no run, mean or bound in the ledger comes to that", _scored(plain, *found.span())


def _scored(step: str, start: int, end: int) -> bool:
    """Whether the number at this place is beyond doubt a score: one was measured, it has no unit, and nothing in its sentence says of whom it is not so."""
    if not _SCORED.search(step[:start]) or not _NO_UNIT.match(step, end):
        return False
    return not any(_NOBODY.search(side) for side in sentence(step, start, end))


def _as_share(said: str) -> str:
    """`44 %` as `0.44`."""
    number = said.rstrip("%percnt ")
    return f"{float(number) / 100:.{2 + len(number.partition('.')[2])}f}"


def _known(name: str, verdicts: Sequence[Verdict], runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[float]:
    for one in verdicts:
        if one.target.metric == name:
            yield from (
                value for value in (one.value, one.low, one.high, one.threshold, one.target.threshold.value) if value is not None
            )
            yield from one.values
    for side in (runs, trials, *candidates(trials)):
        values = [run.metrics[name] for run in side if name in run.metrics]
        yield from values
        yield from middle(values)


def _number(said: str) -> int:
    return int(said) if said.isdigit() else int(COUNTS[said.lower()])
