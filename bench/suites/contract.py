"""The gate: a module's numbers count only while it keeps every promise of its contract."""

from __future__ import annotations

import sys

from bench.request import Bench
from modules.contract import check
from plan.catalogue import benchmark


@benchmark("contract-v1", metrics={"failures": ""}, source="design/0001, modules")
def measure(bench: Bench) -> dict[str, float]:
    """Number of broken promises of the module at the task's config; each is named in the log and in `facts`."""
    blocks = {key: value for key, value in bench.request.config.items() if key not in ("decoder", "recipe")}
    request = bench.request
    failures = [
        str(failure) for failure in check(request.module, config=blocks, draw=f"{request.module} {request.tree} {request.seed}")
    ]
    for failure in failures:
        print(f"{bench.request.module}: {failure}", file=sys.stderr)
    bench.facts["failures"] = failures
    return {"failures": float(len(failures))}
