"""One look at all pull requests: each against its base and against every other, as text and in meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

from agents.pulls.cache import Cache, Question
from agents.pulls.mergetree import Merge, Workshop
from agents.pulls.semantic import VERSION, Reader
from bench.pulls import Clash, Mergeable, Pair, Pull, Pulls

Fetch = Callable[[Sequence[Pull]], tuple[tuple[Pull, ...], tuple[str, ...]]]
LEAST = 64
"""Merges that are worth a git process of their own."""


def survey(
    shop: Workshop,
    pulls: Sequence[Pull],
    *,
    repository: str,
    cache: Cache | None = None,
    workers: int = 1,
    notes: Sequence[str] = (),
) -> Pulls:
    """What merging each of `pulls` into its base, and each two of them, comes to.

    What a server says of them is not looked at here; `with_words` adds it.
    """
    looked = _Survey(shop, cache or Cache(None), workers)
    pulls = tuple(replace(pull, files=looked.files(pull)) for pull in pulls)
    asked = [looked.question(pull) for pull in pulls]
    couples = list(combinations(range(len(pulls)), 2))
    between = [looked.between(asked[one], asked[other]) for one, other in couples]
    answers = looked.answer([*asked, *between])
    bases = [_named(answers[question], pull.base, pull.name) for question, pull in zip(asked, pulls, strict=True)]
    pairs = [
        _named(answers[question], pulls[one].name, pulls[other].name)
        for question, (one, other) in zip(between, couples, strict=True)
    ]
    if shop.shallow:
        notes = (
            *notes,
            "the clone is shallow: a merge may lack the commit it should start from; `git fetch --unshallow` mends it",
        )
    return Pulls(
        repository=repository,
        pulls=pulls,
        against_base=tuple(bases),
        between=tuple(pair for pair in pairs if not pair.clean),
        pairs=len(pairs),
        notes=tuple(notes),
    )


def with_words(seen: Pulls, listed: Sequence[Pull]) -> Pulls:
    """`seen` with what the server says (`said` of `listed`), as far as it speaks of the same commits.

    Its word counts only where a commit is missing here; where the two disagree, the merge decides and a note says so.
    """
    said = {(pull.name, pull.head, pull.base_head): pull.said for pull in listed}
    pulls = tuple(replace(one, said=said.get((one.name, one.head, one.base_head), Mergeable.UNKNOWN)) for one in seen.pulls)
    both = list(zip(pulls, seen.against_base, strict=True))
    notes = [note for pull, pair in both if (note := _disagreement(pull, pair))]
    bases = tuple(_on_word(pull, pair) for pull, pair in both)
    return replace(seen, pulls=pulls, against_base=bases, notes=(*seen.notes, *notes))


class _Survey:
    """Answers questions from the cache or, all that are new at once, from git."""

    def __init__(self, shop: Workshop, cache: Cache, workers: int) -> None:
        self.shop, self.cache, self.workers = shop, cache, workers
        self.reader = Reader(shop)
        self.rules = f"git-{shop.version}/names-{VERSION}"
        self._begun: dict[tuple[str, str], str] = {}

    def files(self, pull: Pull) -> tuple[str, ...]:
        """Paths that the pull request changes; empty when its commits are not here."""
        since = self._since(pull)
        return tuple(change.path for change in self.reader.changes(since, pull.head)) if since else ()

    def question(self, pull: Pull) -> Question:
        """Whether `pull` merges into its base."""
        since = self._since(pull)
        return Question(pull.base_head, pull.head, since, since, self.rules)

    def between(self, one: Question, other: Question) -> Question:
        """Whether two pull requests merge with each other, given what was asked of each alone."""
        return Question(one.theirs, other.theirs, one.theirs_since, other.theirs_since, self.rules)

    def answer(self, questions: Sequence[Question]) -> Mapping[Question, Pair]:
        """An answer to every question."""
        found = self.cache.get(questions)
        new = [question for question in dict.fromkeys(questions) if question not in found]
        made = {question: self._pair(question, merge) for question, merge in zip(new, self._merges(new), strict=True)}
        self.cache.put(made)
        return {**found, **made}

    def _since(self, pull: Pull) -> str:
        """The commit at which the pull request left its base; empty when there is none, or it is not here."""
        ends = pull.base_head, pull.head
        if ends not in self._begun:
            code, out, _ = self.shop.attempt("merge-base", *ends) if all(ends) else (1, b"", "")
            self._begun[ends] = "" if code else out.decode().strip()
        return self._begun[ends]

    def _merges(self, questions: Sequence[Question]) -> list[Merge]:
        pairs = [(question.ours, question.theirs) for question in questions]
        many = max(1, min(self.workers, len(pairs) // LEAST))
        if many == 1:
            return self.shop.merges(pairs)
        size = -(-len(pairs) // many)
        with ThreadPoolExecutor(many) as pool:
            return [
                merge
                for part in pool.map(self.shop.merges, (pairs[at : at + size] for at in range(0, len(pairs), size)))
                for merge in part
            ]

    def _pair(self, question: Question, merge: Merge) -> Pair:
        clashes: tuple[Clash, ...] = ()
        if merge.mergeable is Mergeable.YES and question.ours_since and question.theirs_since:
            ours = self.reader.side("ours", question.ours_since, question.ours)
            theirs = self.reader.side("theirs", question.theirs_since, question.theirs)
            clashes = self.reader.clashes(ours, theirs, tree=merge.tree, heads=(question.ours, question.theirs))
        return Pair(
            ours="ours", theirs="theirs", mergeable=merge.mergeable, conflicts=merge.conflicts, clashes=clashes, why=merge.why
        )


def _named(pair: Pair, ours: str, theirs: str) -> Pair:
    """The answer with the names of its sides."""
    names = {"ours": ours, "theirs": theirs}
    clashes = tuple(replace(one, gone_by=names[one.gone_by], used_by=names[one.used_by]) for one in pair.clashes)
    return replace(pair, ours=ours, theirs=theirs, clashes=clashes)


def _on_word(pull: Pull, pair: Pair) -> Pair:
    """The server's word, where nothing could be merged here."""
    if pair.mergeable is Mergeable.UNKNOWN and pull.said is not Mergeable.UNKNOWN:
        return replace(pair, mergeable=pull.said, why=f"as the server says; {pair.why}")
    return pair


def _disagreement(pull: Pull, pair: Pair) -> str:
    if Mergeable.UNKNOWN in (pull.said, pair.mergeable) or pull.said is pair.mergeable:
        return ""
    paths = ", ".join(f"`{one.path}`" for one in pair.conflicts[:3])
    found = f"finds conflicts in {paths or pair.why}" if pair.mergeable is Mergeable.NO else "finds none"
    return f"{pull.name}: the server says {pull.said}, a merge into `{pull.base}` {found}; the merge counts"
