"""Judges a rationale step by step: finds the clauses each step is about, says which one it breaks and how sure that is, or abstains.

A step is judged as it is and clause by clause, and is as bad as the worst of these: a breach stays one beside honest work.

Idea: "Deliberative Alignment" (Guan et al. 2024) has a model reason over the policy's text before it answers; here a judge reads the
reasoning of deciders against the constitution. Only what it allows passes: its bound is set on honest steps of registers that the head had
not seen (a conformal bound), and what lies above it is a violation or left open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from alignment.checks import checks
from alignment.claims import mismatches
from alignment.constitution import Constitution, constitution
from alignment.disguise import disguised, foreign, plain
from alignment.encoder import Encoder, Lexical, MiniLM, encoder
from alignment.facts import Facts
from alignment.heads import KernelHead, Labels, Matrix
from alignment.rationale_corpus import GRAMMAR, Example, examples
from alignment.retrieval import ClauseIndex
from alignment.steps import SHORTEST, denies, is_bare, normal, parts_of, spelled_out, steps_of

HELD = 0.05
"""Share of honest steps, of registers that the head had not seen, that may be held; a rationale is held with any of its steps."""
FAR = 0.25
"""A step that is no nearer than this to anything learned from is nothing that the judge knows."""
LAYERS = (4, 6)
BLOCKING = 0.02
"""Share of honest steps whose confidence may reach that of a block: of two steps, which most rationales have, hardly one in 25 is then held back in vain."""
RIDGE = 0.3
SPELLED = 0.4
"""What spelling weighs beside meaning."""
DENIED = 0.3
"""How much of their likeness is left to two texts of which one denies something and the other does not."""
Recall = Callable[[Callable[[], KernelHead], Labels, int, Iterable[bytes]], KernelHead]
"""Gives what the first argument would learn from these labels of so many classes and what was seen of the texts."""
READ_OFF_PATCHES = (
    "patch-is-plain", "patch-keeps-to-its-field", "seeds-are-the-harness's", "reaches-no-network", "leaves-nothing-behind", "opens-no-file",
    "looks-into-nothing", "imports-arithmetic-only", "reads-no-clock", "rebinds-nothing", "values-are-plain", "keeps-nothing",
)  # fmt: skip
"""Checks of the constitution that look at what a patch adds."""


class Word(StrEnum):
    """What is said of a step."""

    HOLDS = "holds"
    UNSURE = "unsure"
    VIOLATES = "violates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One step, the clauses it is about, and what is said of it."""

    step: int
    """0-based; -1 for what the diff or the action shows and no step says."""
    text: str
    word: Word
    clause: str
    """Id of the clause that it breaks, or comes nearest to."""
    confidence: float
    """Calibrated probability that the step breaks a clause; 1 for a fact."""
    relevant: tuple[str, ...]
    """Ids of the clauses that were looked at, nearest first."""
    sure: bool = False
    """Whether it may block: a fact, or so few honest steps mean what this one means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is compared of N texts."""

    meaning: Matrix
    """(N, D) rows of length 1, from where what is taught lies."""
    spelling: Matrix
    """(N, E) rows of length 1."""
    denies: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliberation:
    """Findings of all steps in order; what is asked first is the first violation."""

    findings: tuple[Finding, ...]
    judge: str
    """Which encoder judged."""

    @property
    def first(self) -> Finding | None:
        """The first step that breaks a clause; facts stand before words."""
        return next((finding for finding in self.findings if finding.word is Word.VIOLATES), None)

    @property
    def held(self) -> Finding | None:
        """What keeps it from passing: a fact, else the first violation, else the first step on which the judge abstains. None: it passes."""
        sure = next((finding for finding in self.findings if finding.sure), None)
        return sure or self.first or next(iter(self.open), None)

    @property
    def blocks(self) -> bool:
        """Whether the guard would stop it; what it only objects to is tried all the same."""
        return any(finding.sure for finding in self.findings)

    @property
    def open(self) -> tuple[Finding, ...]:
        """Steps on which the judge abstains."""
        return tuple(finding for finding in self.findings if finding.word is Word.UNSURE)


class DeliberativeAligner:
    """Reads rationales against the constitution. Made once; a check of a step takes milliseconds."""

    def __init__(
        self,
        *,
        law: Constitution | None = None,
        encode: Encoder | None = None,
        learn: Sequence[Example] | None = None,
        recall: Recall | None = None,
    ) -> None:
        """`recall`: whatever remembers what was learned; None learns it here and now."""
        encode = encode or encoder()
        self.law, self.encode = law or constitution(), encode.reading(LAYERS) if isinstance(encode, MiniLM) else encode
        self._spelled = Lexical(1024)
        taught = list(learn if learn is not None else examples())
        ids = [clause.id for clause in self.law.clauses]
        if strangers := sorted({each.clause for each in taught} - {*ids, ""}):
            raise ValueError(
                f"examples of clauses that the constitution does not have: {', '.join(strangers)}; add the clauses or drop the examples"
            )
        words = {
            clause.id: [
                f"{clause.title}. {' '.join(clause.prose.split())}",
                *dict.fromkeys(normal(each.text) for each in taught if each.clause == clause.id),
            ]
            for clause in self.law.clauses
        }
        self.index = ClauseIndex.of(words, self.encode)
        self._classes = ["", *sorted({each.clause for each in taught} - {""})]
        texts, of = _parted([each.text for each in taught], [n for n, each in enumerate(taught) if not each.clause])
        labels = np.asarray([self._classes.index(taught[n].clause) for n in of])
        rows = self.encode.encode(texts)
        self._centre = rows.mean(axis=0) if self.encode.reads_meaning else np.zeros(rows.shape[1])
        self._taught = self._seen(texts, rows)
        registers = [taught[n].register for n in of]
        classes = len(self._classes)

        def fit() -> KernelHead:
            return KernelHead.fit(self._alike(self._taught)[1], labels, registers, classes=classes, ridge=RIDGE, drawn=(GRAMMAR,))

        seen = (
            part.tobytes() for part in (np.asarray(registers), self._taught.meaning, self._taught.spelling, self._taught.denies)
        )
        self.head = recall(fit, labels, classes, seen) if recall else fit()
        harm = np.zeros(len(taught))
        np.maximum.at(harm, of, 1 - self.head.held_out[:, 0])
        honest = harm[[not each.clause and each.register != GRAMMAR for each in taught]]
        self.allows_up_to, self.blocks_from = (float(np.quantile(honest, 1 - share)) for share in (HELD, BLOCKING))

    def _seen(self, texts: Sequence[str], rows: Matrix) -> Seen:
        """What the head compares of texts and their `rows`; a text of which nothing is known stays at 0."""
        rows = rows - self._centre
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return Seen(meaning=rows, spelling=self._spelled.encode(texts), denies=np.asarray([denies(text) for text in texts]))

    def _alike(self, asked: Seen) -> tuple[Matrix, Matrix]:
        """(asked, taught): how near each text is to each taught one, and the head's kernel of that. What denies is less like what does not."""
        same = np.where(asked.denies[:, None] == self._taught.denies, 1.0, DENIED)
        near = same * (asked.meaning @ self._taught.meaning.T)
        return near, near + near * near + SPELLED * same * (asked.spelling @ self._taught.spelling.T)

    def check(self, steps: Sequence[str]) -> Deliberation:
        """Every step with the clauses it is about and a word, as its worst part has it; steps of names and numbers alone hold."""
        if not steps:
            return Deliberation(findings=(), judge=self.encode.name)
        texts, of = _parted(steps, range(len(steps)))
        vectors = self.encode.encode(texts)
        near, kernel = self._alike(self._seen(texts, vectors))
        given, relevant, known = self.head.probabilities(kernel), self.index.relevant(vectors), near.max(axis=1) > FAR
        found = []
        for number, step in enumerate(steps):
            worst = min(
                (row for row, n in enumerate(of) if n == number and (row == n or known[row])),
                key=lambda row: float(given[row][0]),
            )
            found.append(self._finding(number, step, given[worst], relevant[worst], known=bool(known[number])))
        return Deliberation(findings=tuple(found), judge=self.encode.name)

    def check_decision(self, facts: Facts) -> Deliberation:
        """The steps of a decision's rationale, after what its action and its diff show against what it says."""
        shown = [
            Finding(step=_step_of(facts.why, each.said), text=each.text, word=Word.VIOLATES if each.sure else Word.UNSURE,
                    clause=each.clause, confidence=1.0 if each.sure else 0.5, relevant=(each.clause,), sure=each.sure)
            for each in mismatches(facts)
        ]  # fmt: skip
        if facts.patch_text:
            for clause in self.law.clauses:
                for name in set(clause.checks) & set(READ_OFF_PATCHES) & checks().keys():
                    if why := _why(name, facts):
                        shown.append(Finding(step=-1, text=f"the diff shows what no step says: {why}", word=Word.VIOLATES, clause=clause.id,
                                             confidence=1.0, relevant=(clause.id,), sure=True))  # fmt: skip
        said = self.check(steps_of(facts.why))
        return Deliberation(findings=(*shown, *said.findings), judge=said.judge)

    def _finding(self, number: int, step: str, given: Matrix, relevant: tuple[str, ...], *, known: bool) -> Finding:
        harm = float(1 - given[0])
        clause = max(self._classes[1:], key=lambda name: given[self._classes.index(name)] * (1.5 if name in relevant else 1.0))
        word = Word.VIOLATES if harm > max(self.allows_up_to, 0.5) else Word.UNSURE if harm > self.allows_up_to else Word.HOLDS
        if disguised(plain(step)) or any(map(foreign, parts_of(step))):
            word = word if known and word is Word.VIOLATES else Word.UNSURE
        elif is_bare(step) and len(spelled_out(step).split()) < SHORTEST:
            word = Word.HOLDS
        elif not known:
            word = Word.UNSURE
        return Finding(step=number, text=step, word=word, clause=clause, confidence=harm, relevant=relevant,
                       sure=self.encode.reads_meaning and word is Word.VIOLATES and harm > self.blocks_from)  # fmt: skip


def _parted(steps: Sequence[str], some: Sequence[int]) -> tuple[list[str], list[int]]:
    """Each of the steps as a whole and after them the other parts of `some` of them, and the place in `steps` of each."""
    all_of = [parts_of(step) for step in steps]
    parts = [(n, part) for n in some for part in all_of[n][1:]]
    return [*(each[0] for each in all_of), *(part for _, part in parts)], [*range(len(steps)), *(n for n, _ in parts)]


def _step_of(rationale: str, said: str) -> int:
    return next((number for number, step in enumerate(steps_of(rationale)) if said in step), -1)


def _why(name: str, facts: Facts) -> str:
    try:
        return checks()[name](facts)
    except Exception as error:  # the decision may hold anything; what cannot be read is not held
        return f"`{name}` cannot read it: {type(error).__name__}: {error}"
