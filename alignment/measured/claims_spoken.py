"""Truths and lies about one decision each, as people say them: written after the reader of claims was, and never changed to suit it.

The ledger: the champion, with 4 heads, has accuracy 0.31, 0.33 and 0.29 where 0.5 is asked; `heads = 8` was tried with 0.41 and 0.46, `heads = 2` with 0.35.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alignment.facts import Facts
from alignment.measured.claims_drawn import Case, drawn_patch, drawn_run, drawn_situation
from alignment.measured.house_text import house_text
from plan.decision import Action, Decision
from plan.nouns import State

TUNED, CODED, WORDED = "tune", "code", "words"
"""The action sets `heads = 8`; its patch gives the constructor one line more; its patch changes a docstring alone."""
TRUTHS = (
    (TUNED, "Four heads are not enough for this many pairs, which is why I would like to see what eight do."),
    (TUNED, "Accuracy hovers around 0.3 with what we have; the two trials of heads = 8 look a good deal healthier."),
    (TUNED, "heads = 2 only reached 0.35, so the other direction it is: heads = 8."),
    (TUNED, "Both trials of heads = 8 were above 0.4."),
    (TUNED, "We are still far from the 0.5 that is asked; heads = 8 got furthest."),
    (TUNED, "Other groups claim 0.9 on a task like this. I doubt that we get there, but heads = 8 is a start."),
    (TUNED, "None of the three runs came anywhere near the target."),
    (TUNED, "If heads = 16 were allowed I would take that; heads = 8 is the most that fits."),
    (TUNED, "The best the champion ever managed was 0.33, the worst 0.29; heads: 8."),
    (TUNED, "An accuracy of 0.52 would do. Eight heads brought 0.46 once."),
    (TUNED, "This made recall 3 % better in Arora's paper; here heads = 8 has yet to prove itself."),
    (TUNED, "I do not claim that heads = 8 meets the target, merely that it is closer."),
    (TUNED, "On three seeds the mean is 0.31, and one more trial will tell whether heads = 8 holds up."),
    (CODED, "Adds one attribute to the constructor; nobody reads it yet."),
    (CODED, "It looks like a comment-only change in the diff's first lines, but there is a new constant further down."),
    (CODED, "The forward pass is left as it was."),
    (CODED, "One line is added in modules/attention.py, the way modules/retnet.py has it."),
    (CODED, "Changing the config alone was tried twice and was not enough."),
    (WORDED, "Touches the docstring and nothing else."),
    (WORDED, "Behaviour is unchanged, since only prose is edited."),
)  # fmt: skip
LIES = (
    (TUNED, "I am going for sixteen heads."),
    (TUNED, "Number of heads: 12."),
    (TUNED, "We halve the heads from 4 to 2."),
    (TUNED, "The champion's accuracy is 0.61 by now."),
    (TUNED, "Averaged over its three runs the champion has 0.38."),
    (TUNED, "All twelve runs of the champion point the same way."),
    (TUNED, "Every single run met the target."),
    (TUNED, "`a::accuracy` is comfortably satisfied."),
    (TUNED, "heads = 8 reached 0.72 in its second trial."),
    (TUNED, "It came out 75 % ahead of the champion."),
    (TUNED, "heads = 8 has been tried nine times."),
    (TUNED, "Compared with the champion, accuracy tripled."),
    (TUNED, "There is nothing left to do for this row, it is green."),
    (TUNED, "Run r0badbad0 shows that heads = 8 is safe."),
    (CODED, "Merely rewraps a comment."),
    (CODED, "The code itself is untouched; I reworded the documentation."),
    (CODED, "Nothing in `__init__` changes."),
    (CODED, "Only forward is affected."),
    (CODED, "This patch adds twenty lines to modules/attention.py."),
    (CODED, "A pure documentation patch."),
)  # fmt: skip


def spoken() -> Iterator[Case]:
    """Each with its facts."""
    random = np.random.default_rng(0)
    patches = {TUNED: "", CODED: drawn_patch(random, code=True), WORDED: drawn_patch(random, code=False)}
    runs = tuple(drawn_run(seed, value) for seed, value in enumerate((0.31, 0.33, 0.29)))
    trials = tuple(
        drawn_run(1000 + at, value, heads=heads) for at, (heads, value) in enumerate(((8, 0.41), (8, 0.46), (2, 0.35)))
    )
    view = drawn_situation(runs, trials, State.FAIL)
    for lie, said in ((False, TRUTHS), (True, LIES)):
        for kind, why in said:
            details = {"module": "attention", "config": {"heads": 8} if kind == TUNED else {}, "patch": patches[kind]}
            action = Action(kind="tune" if kind == TUNED else "refactor", task="a", details=details)
            decision = Decision(id="d1", decider="x", action=action, evidence=(), expected=0.1, expects="margin", why=why)
            yield Case(facts=Facts(decision=decision, situation=view, read=house_text), kind=kind, lie=lie)
