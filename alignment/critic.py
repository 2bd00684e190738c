"""The critic in the loop: what people say of a change and what a learned reward model says of it, each believed as far as it foresaw outcomes.

Both give a probability that the change is better than what it would replace. The blend is

    weight * people + (1 - weight) * critic

and the weight is the one with which past changes would have been foretold best (least squares against their measured outcomes, pulled
to 1 by `PATIENCE`): people have all the say until the critic has shown something. Every prediction is made before its outcome is learnt from, so
nobody is judged on what it was told. The critic is `alignment.reward.BradleyTerry` over pairs of changes and their outcomes.
"""

from __future__ import annotations

import ast
import hashlib
import keyword
import math
import re
import textwrap
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeGuard

import numpy as np
from scipy import special

from alignment.reward import Block, BradleyTerry
from plan.decision import Candidate, Decision, Tried, Vote, entries, tally

PATIENCE = 0.5
"""How much squared disagreement with people the critic has to be right about before it has half a say."""
TRUST = {1: 0.8, -1: 0.2}
"""How often a change that people approve of, or reject, is better, before anything is known."""
PSEUDO = 4.0
"""Changes that `TRUST` counts for."""
FIRST = 4
"""Outcomes from which on the critic says something."""
_FILE = re.compile(r"^--- .*\n\+\+\+ .*\n(?=@@)", re.MULTILINE)
_QUIET = re.compile(r"""("[^"]*"|'[^']*')|#.*""")
_NAME = re.compile(r"[^\W\d]\w*|\d[\w.]*")
_ACTS = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that is proposed: the decision, and what it would replace."""

    decision: Decision
    champion: Candidate
    subject: str = ""
    """What it is measured on: changes of one subject can be compared."""
    objections: tuple[str, ...] = ()
    """Guards that object to it: what an objection of each is worth is learnt as everything else is."""

    @property
    def arm(self) -> Hashable:
        """What kind of change it is: action values are kept for each."""
        return self.decision.action.kind, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How likely a change is better, by whom, and how far each was believed."""

    people: float
    base: float
    """How often changes were better so far: all that people know of one nobody voted on."""
    critic: float
    weight: float
    """Of people; the rest is the critic's."""
    voted: bool
    outcomes: int
    """Measured outcomes behind the critic."""

    @property
    def good(self) -> float:
        """The blend."""
        return self.weight * self.people + (1 - self.weight) * self.critic


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What was said of a change before its outcome, and the outcome."""

    score: Score
    said: int
    """1 approved, -1 rejected, 0 neither."""
    good: float
    """Probability that it was better, from the measurements."""


@dataclass(slots=True, kw_only=True)
class _Arm:
    tries: int = 0
    beyond: float = 0.0
    """Outcomes less what was foretold of them."""


@dataclass(kw_only=True)
class Critic:
    """Learns from outcomes in the order in which they come; equal histories give equal critics."""

    seed: int = 0
    history: list[Foretold] = field(default_factory=list)
    _changes: list[Change] = field(default_factory=list)
    _model: BradleyTerry[Change | None] | None = None
    _arms: dict[Hashable, _Arm] = field(default_factory=lambda: defaultdict(_Arm))
    _draws: int = 0

    def score(self, change: Change, votes: Sequence[Vote] = ()) -> Score:
        """What people, the critic and both together say of it."""
        said = tally(votes)
        return Score(
            people=self._people(said),
            base=self._people(0),
            critic=self._critic(change),
            weight=self.weight(voted=said != 0),
            voted=said != 0,
            outcomes=len(self._changes),
        )

    def value(self, change: Change, votes: Sequence[Vote] = ()) -> float:
        """The action's value: the blend, moved by what its kind on its subject came to beyond what was foretold (in the mean, slowly believed)."""
        arm = self._arms.get(change.arm, _Arm())
        return self.score(change, votes).good + arm.beyond / (arm.tries + PSEUDO)

    def select_action(
        self, changes: Sequence[Change], *, votes: Mapping[str, Sequence[Vote]] = {}, epsilon: float = 0.1
    ) -> Change:
        """The change with the highest value, or with probability `epsilon` any; ValueError when there is none to choose from."""
        self._draws += 1
        return self.choose(changes, votes=votes, epsilon=epsilon, rests_on=f"{self.seed} {self._draws}")[0]

    def choose(
        self, changes: Sequence[Change], *, votes: Mapping[str, Sequence[Vote]] = {}, epsilon: float, rests_on: str
    ) -> tuple[Change, bool]:
        """As `select_action`, and whether it was drawn by chance; `rests_on` is what the draw is made from."""
        if not changes:
            raise ValueError("there is no change to select from; nothing was drawn")
        random = np.random.default_rng(int(hashlib.sha256(rests_on.encode()).hexdigest(), 16))
        if random.random() < epsilon:
            return changes[int(random.integers(len(changes)))], True
        return max(changes, key=lambda change: self.value(change, votes.get(change.decision.id, ()))), False

    def update(self, change: Change, good: float, votes: Sequence[Vote] = ()) -> Foretold:
        """Learn how a change turned out (`good`: probability that it was better); returns what had been foretold of it."""
        if not 0 <= good <= 1:
            raise ValueError(f"an outcome is a probability, not {good!r}; nothing was learnt")
        told = Foretold(score=self.score(change, votes), said=tally(votes), good=good)
        self.history.append(told)
        self._changes.append(change)
        arm = self._arms[change.arm]
        arm.tries, arm.beyond = arm.tries + 1, arm.beyond + good - told.score.good
        self._model = None
        return told

    def weight(self, *, voted: bool) -> float:
        """How far people are believed, from how well each foretold what came; of a change that nobody voted on, the base rate."""
        past = [one for one in self.history if one.score.outcomes >= FIRST and (one.said or not voted)]
        apart = np.array([(one.score.people if voted else one.score.base) - one.score.critic for one in past])
        short = np.array([one.good - one.score.critic for one in past])
        best = (float(apart @ short) + PATIENCE) / (float(apart @ apart) + PATIENCE)
        return min(1.0, max(0.0, best))

    def _people(self, said: int) -> float:
        """How often changes of which they said the same were better, with `TRUST` counting as `PSEUDO` of them."""
        past = [one.good for one in self.history if not said or one.said == said]
        believed = TRUST.get(said, 0.5)
        return (sum(past) + PSEUDO * believed) / (len(past) + PSEUDO)

    def _critic(self, change: Change) -> float:
        if len(self._changes) < FIRST:
            return self._people(0)
        if self._model is None:
            self._model = self._learnt()
        return float(self._model.probability([(change, None)])[0])

    def _learnt(self) -> BradleyTerry[Change | None]:
        pairs: list[tuple[Change | None, Change | None]] = [(one, None) for one in self._changes]
        wins = [told.good for told in self.history]
        return BradleyTerry[Change | None](BLOCKS, strength=0.2).fit(pairs, wins)


def better(tried: Tried) -> float | None:
    """How likely the candidate is better than whom it fought, from its duel; None while nothing is known."""
    bout = tried.bout
    if bout is None or not bout.pairs:
        return None
    if bout.answer == "promote":
        return 1.0
    if any(challenger is None for _, challenger in bout.pairs):
        return 0.0
    sign = -1.0 if bout.better == "less" else 1.0
    return chance([sign * (b - a) for a, b in bout.pairs if a is not None and b is not None])


def chance(gains: Sequence[float]) -> float | None:
    """Probability that the true mean gain is positive, by its mean and standard error; one gain alone says its sign."""
    if not gains:
        return None
    mean = float(np.mean(gains))
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    if error == 0.0:
        return 0.5 if mean == 0 else float(mean > 0)
    return float(special.ndtr(mean / error))


def numbers(change: Change | None) -> dict[str, float]:
    """What a change does to the config, by name: of each entry how far it moves, which way and to where; nothing of no change."""
    if change is None:
        return {}
    try:
        candidate = Candidate.of(change.decision.action.details)
    except (KeyError, TypeError, ValueError):
        return {"any": 1.0}
    found: dict[str, float] = {"any": 1.0, f"kind {change.decision.action.kind}": 1.0, f"decider {change.decision.decider}": 1.0}
    found |= {f"objected to by {guard}": 1.0 for guard in change.objections}
    one, two = dict(entries(change.champion.config)), dict(entries(candidate.config))
    if change.champion.module != candidate.module:
        found |= {
            f"to {candidate.module}": 1.0,
            f"from {change.champion.module}": 1.0,
            f"to {candidate.module} on {change.subject}": 1.0,
        }
    for key in sorted({*one, *two}):
        before, after = one.get(key), two.get(key)
        if before == after:
            continue
        if _number(before) and _number(after):
            step = math.log2(after / before)
            found |= {f"{key} by": step, f"{key} far": abs(step), f"{key} {'up' if step > 0 else 'down'}": 1.0}
            found |= {f"{key} by, on {change.subject}": step}
        else:
            found[f"{key} = {after}"] = 1.0
        if _number(after):
            found[f"{key} to"] = math.log2(after)
    found["entries"] = float(sum(one.get(key) != two.get(key) for key in {*one, *two}))
    added = [line for line in candidate.patch.splitlines() if line.startswith("+") and line[1:].strip()[:1] not in ("", "#", "+")]
    return found | ({"patch": 1.0, "patch lines": math.log1p(len(added))} if added else {})


def words(change: Change | None) -> dict[str, float]:
    """The names and numbers of the code that a change's patch adds and takes away, each once however often it stands there.

    What runs nothing has no say: comments, strings, annotations, statements that only name something, what stands under `if False:`. (Functions that
    nobody calls have, and what follows `True or`.)
    """
    return {} if change is None else _words(str(change.decision.action.details.get("patch", "")))


@lru_cache(maxsize=4096)
def _words(patch: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for sign, lines in groupby(_FILE.sub("", patch).splitlines(), key=lambda line: line[:1]):
        if sign and sign in "+-":
            found |= {f"{sign} {token}": 1.0 for token in _tokens([line[1:] for line in lines])}
    return found


def _tokens(lines: Sequence[str]) -> Iterator[str]:
    """Names and numbers of code; line by line where the lines together are no program, and of a line that is none, without comments and strings."""
    text = textwrap.dedent("\n".join(lines))
    for form in (text, "def added(self):\n" + textwrap.indent(text, "    ")):
        try:
            tree = ast.parse(form)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        yield from _of_tree(tree)
        return
    if len(lines) > 1:
        for line in lines:
            yield from _tokens([line])
    else:
        yield from (name for name in _NAME.findall(_QUIET.sub(" ", text)) if not keyword.iskeyword(name))


def _of_tree(tree: ast.AST) -> Iterator[str]:
    idle = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and not any(isinstance(part, _ACTS) for part in ast.walk(node))
        for part in ast.walk(node)
    }
    idle |= {id(part) for node in ast.walk(tree) for root in _unrun(node) for part in ast.walk(root)}
    for node in ast.walk(tree):
        if id(node) in idle:
            continue
        match node:
            case ast.Name(id=str(name)) | ast.Attribute(attr=str(name)) | ast.arg(arg=str(name)) | ast.keyword(arg=str(name)):
                yield name
            case ast.alias(name=str(name)) | ast.FunctionDef(name=str(name)) | ast.ClassDef(name=str(name)) if name != "added":
                yield name
            case ast.Constant(value=int() | float() | complex() as number):
                yield str(number)


def _unrun(node: ast.AST) -> list[ast.AST]:
    """What of a node no run comes to: annotations, and what stands under a test that is a false constant."""
    match node:
        case (
            ast.AnnAssign(annotation=hint) | ast.arg(annotation=ast.expr() as hint) | ast.FunctionDef(returns=ast.expr() as hint)
        ):
            return [hint]
        case ast.If(test=ast.Constant(value=value), body=body) | ast.While(test=ast.Constant(value=value), body=body) if (
            not value
        ):
            return list(body)
        case _:
            return []


def _number(value: Any) -> TypeGuard[float]:
    """Whether its ratio to another such number is one too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1e-150 < value < 1e150


BLOCKS: tuple[Block[Change | None], ...] = (Block("change", numbers), Block("patch", words, counts=True))
