"""L-1: do rules derived from some people's votes hold among the others, and are texts labelled rightly?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alignment import xstest
from alignment.collective import LEAST_SEEN, derive_rules
from alignment.consensus import support
from alignment.labeller import Labeller
from alignment.measured import Bench, Unmeasurable, data_of
from alignment.measured.collective import conversations
from alignment.measured.scores import auroc, calibration_error
from alignment.measured.sentences import encoder_of
from alignment.polis_export import Conversation
from alignment.requests import CLAUSES
from plan.catalogue import benchmark


@benchmark(
    "polis-rules-v2",
    metrics={"held_out": "", "rules": "", "people": ""},
    source="votes of the half of the participants that the rules were not derived from, by Polis' own groups",
    options={"corpus": "", "min_agreement": 0.6, "replicates": 50},
    modules=("collective",),
)
def measure_rules(bench: Bench) -> dict[str, float]:
    """Of the rules derived from one half of the people, the share that every group of the other half supports as far as was asked.

    Each seed is a conversation of which rules come: seed 0 is the first by name. The halves are drawn within Polis' groups; the rules know nothing of
    these. A group of which fewer than five others saw a statement has no say, as in the derivation.
    """
    known, asked, turn = conversations(data_of(bench)), bench.options["min_agreement"], bench.request.seed
    for number, whole in enumerate(known):
        half = halves(whole.groups, np.random.default_rng([number, 3]))
        found = derive_rules(
            people_of(whole, half),
            min_agreement=asked,
            accept=("labels", "rows", "counts", "statements", "duplicates"),
            replicates=bench.options["replicates"],
        )
        turn -= bool(found.rules)
        if turn < 0:
            break
    else:
        rich = bench.request.seed - turn
        raise Unmeasurable(f"rules come of {rich} of {len(known)} conversations; ask for {rich} seeds. nothing was measured")
    unseen = people_of(whole, ~half & (whole.groups >= 0))
    column = {statement.id: place for place, statement in enumerate(whole.statements)}
    least = np.where(seen_by(unseen) >= LEAST_SEEN, support(unseen.votes, unseen.groups), 1.0).min(0)
    held = [bool(least[column[rule.id]] >= asked) for rule in found.rules]
    bench.facts.update(conversation=whole.name, rules={rule.text: float(least[column[rule.id]]) for rule in found.rules})
    return {"held_out": float(np.mean(held)), "rules": float(len(held)), "people": float(half.sum())}


def seen_by(conversation: Conversation) -> NDArray[np.int64]:
    """(G, S): how many of each group saw each statement."""
    groups = np.unique(conversation.groups)
    return np.array([(~np.isnan(conversation.votes[conversation.groups == group])).sum(0) for group in groups])


def halves(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which half each is in: half of every group, and of those without one."""
    first = np.zeros(len(groups), dtype=np.bool_)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        first[members[: len(members) // 2]] = True
    return first


def people_of(conversation: Conversation, chosen: NDArray[np.bool_]) -> Conversation:
    """The same conversation as if only these had taken part."""
    return replace(
        conversation,
        participants=tuple(who for who, kept in zip(conversation.participants, chosen, strict=True) if kept),
        votes=conversation.votes[chosen],
        groups=conversation.groups[chosen],
        declared=None if conversation.declared is None else conversation.declared[chosen],
    )


@benchmark(
    "xstest-labels-v1",
    metrics={"right": "", "abstained": "", "auroc": "", "ece": "", "texts": ""},
    source="XSTest prompts (Roettger et al. 2024), leaving out one family of types after the other",
    options={"corpus": "", "encoder": "MiniLM"},
    modules=("collective",),
)
def measure_labels(bench: Bench) -> dict[str, float]:
    """Of the texts that are tagged safe or unsafe, the share that is tagged rightly; on the others the labeller abstains."""
    given, encode = xstest.prompts(data_of(bench)), encoder_of(bench)
    texts, truth, family = ([one.text for one in given], np.array([one.harm for one in given]), [one.family for one in given])
    clauses = {name: " ".join(said) for name, said in CLAUSES.items()}
    tags, said = np.empty(len(given), dtype=object), np.zeros(len(given))
    for train, test in xstest.splits(family):
        taught = np.flatnonzero(train)
        labeller = Labeller.fit(
            [texts[i] for i in taught], truth[train].tolist(), [family[i] for i in taught], clauses=clauses, encoder=encode
        )
        found = labeller.label([texts[i] for i in np.flatnonzero(test)])
        tags[test], said[test] = [one.tag for one in found], [one.unsafe for one in found]
    tagged = tags != "abstain"
    right = tags[tagged] == np.where(truth[tagged], "unsafe", "safe")
    return {
        "right": float(right.mean()) if tagged.any() else 0.0,
        "abstained": float(1 - tagged.mean()),
        "auroc": auroc(said, truth),
        "ece": calibration_error(said, truth),
        "texts": float(len(given)),
    }
