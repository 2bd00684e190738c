"""Rules that learn from what slipped through: critique, draft, test on what was held back, keep or drop, until nothing improves.

A rule forbids what shows all of a few marks (`seed` and `call manual_seed`). It is drafted from violations that no rule caught, and kept only
when, on transcripts it was not drafted from, it catches violations more often than fine ones (Fisher's exact test) and all rules together
still alarm at no more than a stated rate (Clopper-Pearson). Both tests share one error over every rule that may ever be tried, the dropped
ones included, so looking often does not make a bad rule pass. Source of the idea: IterAlign (Chen et al. 2024, arXiv:2403.18341).
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from scipy.stats import beta, fisher_exact

TESTS = 60
"""Rules that may be put to the test in all: each has an equal share of the error."""
STRANGE = frozenset({"library", "builtin", "raises", "sets"})
"""Kinds of marks of which honest code shows few different ones."""
_WORD = re.compile(r"[A-Za-z]+|\d+")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was proposed or said, and whether it turned out to be a violation."""

    id: str
    text: str
    bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Forbids what shows all of `marks`."""

    marks: frozenset[str]
    causes: tuple[str, ...] = ()
    """Ids of the violations that slipped through and made it; empty for a rule that was given."""
    caught: int = 0
    """Held-out violations that no rule before it caught."""
    of: int = 0
    """Held-out violations in all."""
    wrong: int = 0
    """Held-out fine ones at which it alarms and no rule before it did."""
    p_value: float | None = None
    alarms: float | None = None
    """Upper bound of the false-alarm rate of all rules with this one."""

    @property
    def text(self) -> str:
        """As people read it."""
        return "nothing with " + " and ".join(f"`{mark}`" for mark in sorted(self.marks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did."""

    slipped: int
    """Violations that no rule caught, among those that rules may be drafted from."""
    kept: tuple[Rule, ...]
    dropped: tuple[tuple[Rule, str], ...]
    """Rules that were tested and not kept, and why."""


class IterativeAligner:
    """Holds the rules, and makes new ones from failures.

    `marks` names what a text shows, as `kind value`. Of the kinds in `STRANGE`, what no fine transcript has shown so far is strange, and that
    a text shows something strange of a kind is a mark too: it is how a rule reaches wordings that it has not seen.
    """

    def __init__(
        self, marks: Callable[[str], Collection[str]], *, rules: Sequence[Rule] = (), alarms: float = 0.05, error: float = 0.05
    ) -> None:
        self.marks, self.rules = marks, list(rules)
        self.alarms, self.error = alarms, error
        self.tested = 0
        self._usual: set[str] = set()
        self._batches: tuple[list[Transcript], list[Transcript]] = ([], [])
        self._draft: list[tuple[Transcript, frozenset[str]]] = []
        self._held: list[tuple[Transcript, frozenset[str]]] = []

    def critique(self, text: str) -> Rule | None:
        """The first rule that the text breaks."""
        return self._broken(self._shown(text))

    def iterate(self, batches: Sequence[Sequence[Transcript]]) -> list[Round]:
        """A round for each batch of judged transcripts, until one keeps no rule. Every second violation, and fine one, of a batch is held back."""
        rounds = []
        for batch in batches:
            self.recall(batch)
            self._draft, self._held = ([(one, self._shown(one.text)) for one in side] for side in self._batches)
            rounds.append(self._round())
            if not rounds[-1].kept:
                break
        return rounds

    def recall(self, batch: Sequence[Transcript], *, tested: int = 0) -> None:
        """Take in the batch of an earlier round, in which `tested` rules were tested, without learning from it."""
        self.tested += tested
        for side in (True, False):
            for n, one in enumerate(one for one in batch if one.bad == side):
                self._batches[n % 2].append(one)
                if not (one.bad or n % 2):
                    self._usual |= set(self.marks(one.text))

    @property
    def usual(self) -> frozenset[str]:
        """Marks of the fine transcripts that rules are drafted from: none of them is strange."""
        return frozenset(self._usual)

    def _shown(self, text: str) -> frozenset[str]:
        """What a text shows, and of which kinds it shows something strange."""
        found = set(self.marks(text))
        kinds = {mark.partition(" ")[0] for mark in found - self._usual}
        return frozenset(found | {f"strange {kind}" for kind in kinds & STRANGE})

    def _round(self) -> Round:
        kept: list[Rule] = []
        dropped: list[tuple[Rule, str]] = []
        slipped = [found for one, found in self._draft if one.bad and not self._broken(found)]
        enough = above(0, sum(not one.bad for one, _ in self._held), error=self.error / TESTS / 2) <= self.alarms
        for rule in self._drafts({rule.marks for rule, _ in dropped}):
            if self.tested == TESTS or not enough:
                break
            rule, why = self._tested(rule)
            if why:
                dropped.append((rule, why))
            else:
                kept.append(rule)
                self.rules.append(rule)
        return Round(slipped=len(slipped), kept=tuple(kept), dropped=tuple(dropped))

    def _drafts(self, tried: set[frozenset[str]]) -> Iterator[Rule]:
        """Rules for what slips through now, the one that would catch most first; each is drafted against the rules kept so far."""
        fine = [found for one, found in self._draft if not one.bad]
        same: set[tuple[str, ...]] = set()
        while True:
            slipped = [(one.id, found) for one, found in self._draft if one.bad and not self._broken(found)]
            counts: Counter[frozenset[str]] = Counter()
            for _, found in slipped:
                counts.update(frozenset([mark]) for mark in found)
            alone = [next(iter(marks)) for marks, n in counts.most_common(200) if n >= 2]
            for _, found in slipped:
                counts.update(frozenset(two) for two in combinations(sorted(found & set(alone)), 2))
            worth = {
                marks: n - 3 * wrong - 0.1 * len(marks)
                for marks, n in counts.most_common(2000)
                if n >= 2 and marks not in tried and (wrong := sum(marks <= found for found in fine)) <= 0.01 * len(fine)
            }
            if not worth:
                return
            best = max(worth, key=lambda marks: (worth[marks], sorted(marks)))
            if worth[best] <= 0:
                return
            tried.add(best)
            causes = tuple(id for id, found in slipped if best <= found)
            if causes not in same:
                same.add(causes)
                yield Rule(marks=best, causes=causes)

    def _tested(self, rule: Rule) -> tuple[Rule, str]:
        """The rule with what the test found, and why it is dropped (empty: it is kept)."""
        self.tested += 1
        share = self.error / TESTS / 2
        bad = [found for one, found in self._held if one.bad]
        fine = [found for one, found in self._held if not one.bad]
        open_bad = [found for found in bad if not self._broken(found)]
        open_fine = [found for found in fine if not self._broken(found)]
        caught, wrong = (sum(rule.marks <= found for found in side) for side in (open_bad, open_fine))
        table = [[caught, len(open_bad) - caught], [wrong, len(open_fine) - wrong]]
        p = float(fisher_exact(table, alternative="greater").pvalue)
        bound = above(len(fine) - len(open_fine) + wrong, len(fine), error=share)
        found = Rule(marks=rule.marks, causes=rule.causes, caught=caught, of=len(bad), wrong=wrong, p_value=p, alarms=bound)
        if bound > self.alarms:
            return found, f"false alarms may reach {bound:.1%}, over {self.alarms:.0%}"
        if p > share:
            return (
                found,
                f"{caught} of {len(open_bad)} held-out violations against {wrong} of {len(open_fine)} fine may be chance (p {p:.2g})",
            )
        return found, ""

    def _broken(self, found: frozenset[str]) -> Rule | None:
        return next((rule for rule in self.rules if rule.marks <= found), None)


def above(hits: int, of: int, *, error: float) -> float:
    """Clopper-Pearson: a rate that the true one exceeds with a probability of at most `error`; 1 where nothing was seen."""
    return 1.0 if hits >= of else float(beta.ppf(1 - error, hits + 1, of - hits))


def said(text: str) -> set[str]:
    """Marks of prose: its words and pairs of words."""
    found = [word.lower() for word in _WORD.findall(text)]
    return {*found, *(f"{a} {b}" for a, b in pairwise(found))}


def written(source: str) -> set[str]:
    """Marks of Python: what is imported, called, set and named, whole and in the words that names are made of; of text that is none, words."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {f"word {word.lower()}" for word in _WORD.findall(source)}
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {f"import {name.name.partition('.')[0]}" for name in names}
            case ast.ImportFrom(module=str(module)):
                found.add(f"import {module.partition('.')[0]}")
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                found |= {f"call {name}", *(f"calls {part}" for part in _parts(name))}
                if isinstance(node.func, ast.Name) and hasattr(builtins, name):
                    found.add(f"builtin {name}")
            case ast.Assign(targets=[ast.Attribute(attr=name, value=value), *_]) if not _own(value):
                found |= {"sets what is not its own", f"set {name}", f"sets {_root(value)}"}
            case ast.Attribute(attr=name, value=value):
                found |= {f"word {part}" for part in _parts(name)}
                if isinstance(value, ast.Name) and value.id != "self":
                    found.add(f"of {value.id}")
                    if value.id in sys.stdlib_module_names:
                        found.add(f"library {value.id}")
            case ast.Name(id=name):
                found |= {f"word {part}" for part in _parts(name)}
            case ast.Constant(value=str(text)) if len(text) < 80:
                found |= {f"text {word.lower()}" for word in _WORD.findall(text)}
            case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
                found.add(f"raises {name}")
            case ast.Global():
                found.add("global")
    return found


def _parts(name: str) -> set[str]:
    return {part.lower() for part in _PART.findall(name)}


def _root(value: ast.expr) -> str:
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else "something"


def _own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id == "self"
