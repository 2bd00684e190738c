"""L-1: opinion groups, consensus and audit of votes, against Polis' own on real conversations and against what was planted in drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignment.consensus import group_informed_consensus
from alignment.measured import Bench, Unmeasurable, data_of
from alignment.measured.planted_votes import FAULTS, drawn, found_of
from alignment.opinion_groups import Recipe, adjusted_rand, find_groups
from alignment.polis_export import MATRIX, Conversation, read
from alignment.vote_audit import audit
from plan.catalogue import benchmark

RECIPES = tuple(Recipe(min_votes=votes, slack=slack) for slack in (1.0, 0.0) for votes in (7, 5, 10))
"""What moves the figure most was settled on the conversations themselves, so the nested one leaves it open. Of equally good ones the first is taken."""


def conversations(folder: Path) -> list[Conversation]:
    """Every conversation in or below `folder`, by name; Unmeasurable when there is none."""
    found = [read(path.parent) for path in sorted(folder.rglob(MATRIX))]
    if not found:
        raise Unmeasurable(f"no `{MATRIX}` in or below `{folder}`; name a folder of Polis exports. nothing was measured")
    return found


def turns(bench: Bench) -> tuple[list[Conversation], int]:
    """All conversations, and which of them the seed judges; Unmeasurable when there are fewer than seeds."""
    known, turn = conversations(data_of(bench)), bench.request.seed
    if turn >= len(known):
        raise Unmeasurable(
            f"`{bench.request.data}` holds {len(known)} conversations, one for each seed; ask for {len(known)} seeds. nothing was measured"
        )
    return known, turn


@benchmark(
    "polis-consensus-v1",
    metrics={"difference": "", "missing": "", "statements": ""},
    source="Polis' exported column `group-informed-consensus`, doi:10.6035/recerca.5516",
    options={"corpus": ""},
    modules=("collective",),
)
def measure_consensus(bench: Bench) -> dict[str, float]:
    """The largest difference from the column that Polis exported, over all statements; `missing` are those of which one side has none."""
    differences: list[float] = []
    for conversation in conversations(data_of(bench)):
        theirs = np.array([np.nan if s.consensus is None else s.consensus for s in conversation.statements])
        if np.isfinite(theirs).any():
            differences += np.abs(group_informed_consensus(conversation.votes, conversation.groups) - theirs).tolist()
    known = np.isfinite(differences)
    if not known.any():
        raise Unmeasurable(
            f"no export in `{bench.request.data}` has a consensus of its own; take a newer one. nothing was measured"
        )
    return {
        "difference": float(np.array(differences)[known].max()),
        "missing": float((~known).sum()),
        "statements": float(len(known)),
    }


@benchmark(
    "polis-groups-v2",
    metrics={"rand_index": "", "nested_rand_index": "", "groups": "", "people": ""},
    source="Polis' own groups; adjusted Rand index of Hubert and Arabie 1985",
    options={"corpus": "", "clusterings": 5},
    modules=("collective",),
)
def measure_groups(bench: Bench) -> dict[str, float]:
    """Agreement of the groups found with Polis' own on one conversation: seed 0 is the first by name, and there are as many seeds as conversations.

    `rand_index` is the mean over several seeds of the clustering, `nested_rand_index` that of the recipe which does best on all other conversations.
    """
    known, turn = turns(bench)
    own, others = known[turn], [one for number, one in enumerate(known) if number != turn]
    clusterings = range(bench.options["clusterings"])
    table = [[agreement(one, recipe=recipe) for one in others] for recipe in RECIPES]
    chosen = RECIPES[int(np.mean(table, axis=1).argmax())] if others else RECIPES[0]
    bench.facts.update(conversation=own.name, recipe={"min_votes": chosen.min_votes, "slack": chosen.slack})
    return {
        "rand_index": float(np.mean([agreement(own, seed=seed) for seed in clusterings])),
        "nested_rand_index": float(np.mean([agreement(own, seed=seed, recipe=chosen) for seed in clusterings])),
        "groups": float(len(set(own.groups[own.groups >= 0].tolist()))),
        "people": float((own.groups >= 0).sum()),
    }


def agreement(conversation: Conversation, *, seed: int = 0, recipe: Recipe | None = None) -> float:
    """The adjusted Rand index of the groups found with those that the export has, over those to whom it gave one."""
    inside = conversation.groups >= 0
    found = find_groups(conversation.votes, accepted=conversation.accepted, seed=seed, recipe=recipe)
    return adjusted_rand(found.labels[inside], conversation.groups[inside])


@benchmark(
    "polis-audit-v3",
    metrics={
        "shuffles_found": "",
        "half_shuffles_found": "",
        "misalignments_found": "",
        "duplicates_found": "",
        "near_duplicates_found": "",
        "dice_found": "",
        "false_alarms": "",
    },
    source="faults planted in the exports of real conversations",
    options={"corpus": ""},
    modules=("collective",),
)
def measure_audit(bench: Bench) -> dict[str, float]:
    """The share of planted faults of each kind that raises an alarm; `false_alarms` is the share of the files, as they are, that raise one.

    Of those who vote nearly as another one, and of those who vote at random, it is the share that is named: a notice, no alarm.
    """
    return told_of(conversations(data_of(bench)), bench)


@benchmark(
    "polis-clean-v1",
    metrics={"false_alarms": "", "notices": "", "people": ""},
    source="exports of real conversations as they were published",
    options={"corpus": ""},
    modules=("collective",),
)
def measure_clean(bench: Bench) -> dict[str, float]:
    """Whether the audit raises an alarm at one conversation as it is: nothing is drawn, seed 0 is the first by name, and there are as many seeds as files."""
    known, turn = turns(bench)
    found = audit(known[turn])
    bench.facts.update(conversation=known[turn].name, told=[finding.message for finding in found])
    alarms = sum(finding.alarm for finding in found)
    return {
        "false_alarms": float(alarms > 0),
        "notices": float(len(found) - alarms),
        "people": float(len(known[turn].participants)),
    }


@benchmark(
    "drawn-votes-v3",
    metrics={
        "rand_index": "",
        "shuffles_found": "",
        "half_shuffles_found": "",
        "misalignments_found": "",
        "duplicates_found": "",
        "near_duplicates_found": "",
        "dice_found": "",
        "false_alarms": "",
    },
    source="conversations drawn from planted groups that share most of their views",
    options={"conversations": 6, "people": 300, "statements": 60},
    modules=("collective",),
)
def measure_drawn(bench: Bench) -> dict[str, float]:
    """The same on drawn conversations, of which the groups are known: an easier question than people's votes, and one that needs no data."""
    sizes = {name: bench.options[name] for name in ("people", "statements")}
    made = [drawn(np.random.default_rng([bench.request.seed, n]), **sizes) for n in range(bench.options["conversations"])]
    return {"rand_index": float(np.mean([agreement(one) for one in made])), **told_of(made, bench)}


def told_of(known: Sequence[Conversation], bench: Bench) -> dict[str, float]:
    """What the audit says of each conversation as it is, and of one planted fault of each kind in each; a pure function of the seed."""
    told: dict[str, list[float]] = {}
    for number, clean in enumerate(known):
        rng = np.random.default_rng([bench.request.seed, number, 7])
        told.setdefault("false_alarms", []).append(float(any(finding.alarm for finding in audit(clean))))
        for fault in FAULTS:
            told.setdefault(f"{fault.kind}_found", []).append(found_of(fault, clean, rng))
        bench.progress(number + 1, len(known), {})
    return {name: float(np.mean(each)) for name, each in told.items()}
