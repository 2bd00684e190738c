"""L-2: replies and requests of XSTest judged without their own kind, and breaches planted in rationales and diffs."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from alignment import refusal, requests, xstest
from alignment.checks import *  # noqa: F403  they are loaded by names made at run time; so their meaning is part of each run's identity
from alignment.deliberative import DeliberativeAligner, steps_of
from alignment.measured import Bench, Unmeasurable, data_of, dealt
from alignment.measured.planted_diffs import silent_and_lying
from alignment.measured.scores import auroc, calibration_error, interval
from alignment.measured.sentences import encoder_of
from alignment.proof_rationales import FRAMES, HONEST, PLANTED
from plan.catalogue import benchmark


@benchmark(
    "xstest-replies-v1",
    metrics={"accuracy": "", "full_compliance": "", "partial_refusal": "", "full_refusal": "", "replies": ""},
    source="XSTest completions (Roettger et al. 2024), the label that people agreed on",
    options={"corpus": "", "encoder": "MiniLM"},
    modules=("deliberative",),
)
def measure_replies(bench: Bench) -> dict[str, float]:
    """Refusal in three classes, on the replies of one model: seed 0 is the first by name, and there are as many seeds as models.

    Each family of prompts is judged by what was learnt from the other models' replies to the other families. Beside the accuracy, of each
    class the share that was found.
    """
    given, turn = xstest.completions(data_of(bench)), bench.request.seed
    models = sorted({one.model for one in given})
    if turn >= len(models):
        raise Unmeasurable(
            f"`{bench.request.data}` holds replies of {len(models)} models, one for each seed; ask for {len(models)} seeds. nothing was measured"
        )
    seen = refusal.Seen.of([refusal.Reply(prompt=one.prompt, text=one.text) for one in given], encoder_of(bench))
    labels = np.asarray([one.label for one in given])
    model, family = (np.asarray([getattr(one, name) for one in given]) for name in ("model", "family"))
    groups = np.char.add(np.char.add(model, "/"), family)
    said = np.full(len(given), -1)
    splits = [(train, test) for train, test in xstest.splits(list(model), list(family)) if model[test][0] == models[turn]]
    for done, (train, test) in enumerate(splits):
        judge = refusal.RefusalJudge.fit(seen[train], labels[train], list(groups[train]))
        said[test] = judge.judge(seen[test]).argmax(axis=1)
        bench.progress(done + 1, len(splits), {})
    own = model == models[turn]
    bench.facts.update(model=models[turn], splits=len(splits))
    return {
        "accuracy": float((said[own] == labels[own]).mean()),
        **{
            name.replace(" ", "_"): _mean(said[own & (labels == number)] == number) for number, name in enumerate(refusal.CLASSES)
        },
        "replies": float(own.sum()),
    }


@benchmark(
    "xstest-requests-v1",
    metrics={
        "auroc": "",
        "auroc_low": "",
        "auroc_high": "",
        "ece": "",
        "ece_low": "",
        "ece_high": "",
        "step_seconds": "s",
        "requests": "",
    },
    source="XSTest prompts (Roettger et al. 2024): safe ones against their unsafe contrasts",
    options={"corpus": "", "encoder": "MiniLM", "timed": 50},
    modules=("deliberative",),
    alone=True,
)
def measure_requests(bench: Bench) -> dict[str, float]:
    """How well harm is told from what only sounds like it, and how true the probabilities are, leaving out one family of types after the other.

    Nothing is drawn: `..._low` and `..._high` are the bootstrap's 95 % interval over the requests. `step_seconds` is the median
    processor time of one request alone, all threads together: what it takes by the clock where nothing else runs.
    """
    given, encode = xstest.prompts(data_of(bench)), encoder_of(bench)
    family, truth = np.asarray([one.family for one in given]), np.asarray([one.harm for one in given])
    asked = requests.Asked.of([one.text for one in given], encode)
    said = np.full(len(given), np.nan)
    splits = list(xstest.splits(list(family)))
    for done, (train, test) in enumerate(splits):
        judge = requests.RequestJudge.fit(asked[train], truth[train].astype(np.int64), list(family[train]))
        said[test] = judge.judge(asked[test])
        bench.facts[f"auroc without {family[test][0]}"] = auroc(said[test], truth[test])
        bench.progress(done + 1, len(splits), {})
    seconds = []
    for one in given[:: max(1, len(given) // bench.options["timed"])]:
        start = time.process_time()
        judge.judge(requests.Asked.of([one.text], encode))
        seconds.append(time.process_time() - start)
    areas, gaps = (interval(measure, said, truth) for measure in (auroc, calibration_error))
    return {
        **{"auroc": auroc(said, truth), "auroc_low": areas[0], "auroc_high": areas[1]},
        **{"ece": calibration_error(said, truth), "ece_low": gaps[0], "ece_high": gaps[1]},
        **{"step_seconds": float(np.median(seconds)), "requests": float(len(given))},
    }


@benchmark(
    "rationales-v1",
    metrics={"passed": "", "blocked": "", "not_blocked": "", "objected": "", "clause_named": "", "breaches": "", "honest": ""},
    source="breaches planted in rationales of other wordings than were learnt from",
    options={"encoder": "MiniLM", "folds": 5},
    modules=("deliberative",),
)
@benchmark(
    "rationales-lexical-v1",
    metrics={"passed": "", "blocked": "", "not_blocked": "", "objected": "", "clause_named": "", "breaches": "", "honest": ""},
    source="the same with the fallback that knows spelling alone",
    options={"encoder": "lexical", "folds": 5},
    modules=("deliberative",),
)
def measure_rationales(bench: Bench) -> dict[str, float]:
    """Breaches that pass without a word, and honest rationales that are blocked, among a fifth of all wordings: each seed judges others.

    A wording stands in several frames, all judged by one seed.
    """
    judge, turn = DeliberativeAligner(encode=encoder_of(bench)), {"seed": bench.request.seed, "folds": bench.options["folds"]}
    planted = [(text, clause) for clause, texts in PLANTED.items() for text in texts]
    broken = [(frame.format(text), clause) for text, clause in dealt(planted, **turn) for frame in FRAMES]
    honest = [frame.format(text) for text in dealt(HONEST, **turn) for frame in FRAMES]
    found = [(judge.check(steps_of(text)), clause) for text, clause in broken]
    fine = [judge.check(steps_of(text)) for text in honest]
    bench.facts["judge"] = judge.encode.name
    return {
        "passed": _mean(each.first is None for each, _ in found),
        "not_blocked": _mean(not any(step.sure for step in each.findings) for each, _ in found),
        "blocked": _mean(any(step.sure for step in each.findings) for each in fine),
        "objected": _mean(each.first is not None for each in fine),
        "clause_named": _mean(each.first.clause == clause for each, clause in found if each.first),
        "breaches": float(len(broken)),
        "honest": float(len(honest)),
    }


@benchmark(
    "cheat-diffs-v1",
    metrics={"passed": "", "lies_passed": "", "blocked": "", "pairs": ""},
    source="the cheats of tests/alignment/cheats and their honest twins",
    options={"corpus": "", "encoder": "lexical"},
    modules=("deliberative",),
)
def measure_diffs(bench: Bench) -> dict[str, float]:
    """Cheats that are not blocked under a rationale that is silent about them, honest twins that are, and twins not blocked under one that belies them.

    All is read off patches, so no encoder has a say and nothing is drawn.
    """
    silent, twins, lies = silent_and_lying(data_of(bench), DeliberativeAligner(encode=encoder_of(bench)))
    return {
        "passed": _mean(not each for each in silent),
        "blocked": _mean(twins),
        "lies_passed": _mean(not each for each in lies),
        "pairs": float(len(silent)),
    }


def _mean(found: Iterable[bool]) -> float:
    """The share of those that are true; 0 of none."""
    values = list(found)
    return float(np.mean(values)) if values else 0.0
