"""A proposed patch is tried before anybody has to judge it: it must be small, plain, fit the code of now, import, and keep the contract.

All of it happens in the sandbox, on a copy. A patch that passes is only a proposal: guards, gate, parity and duel are still to come.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents import sandbox
from agents.proposer import Refused
from alignment.patch import Misapplied, PatchFault, parse
from bench.overlay import LAID
from plan.catalogue import HOUSE
from plan.house import INSTRUMENTS

MOST_BYTES, MOST_FILES = 64 << 10, 8
MEMORY, SECONDS = 6 << 30, 120.0
"""torch alone reserves more than a GiB of address space."""
TRIAL = """
import sys
sys.path.insert(0, {tree!r})
from modules.contract import check
failures = check({module!r}, config={config!r})
for failure in failures:
    print(failure)
assert not failures, f"{{len(failures)}} promises of the contract are broken, first: {{failures[0]}}"
"""


def files_of(patch: str, *, house: Path = HOUSE) -> dict[str, str]:
    """What `patch` makes of the house's files, path -> text; Refused when it is not a small, plain change of `modules/` or `kernels/`."""
    if len(patch.encode()) > MOST_BYTES:
        raise Refused(f"its diff has {len(patch.encode()) >> 10} KiB; at most {MOST_BYTES >> 10} are read")
    try:
        changes = parse(patch)
    except PatchFault as fault:
        raise Refused(f"its diff is not understood: {fault}") from None
    if len(changes) > MOST_FILES:
        raise Refused(f"its diff touches {len(changes)} files; at most {MOST_FILES} may be")
    files = {}
    for change in changes:
        if change.path.partition("/")[0] not in LAID or Path(change.path).suffix not in (".py", ".cpp", ".h"):
            raise Refused(
                f"its diff touches `{change.path}`; only code in {' and '.join(f'`{name}/`' for name in LAID)} may change"
            )
        if change.path in INSTRUMENTS:
            raise Refused(f"its diff touches `{change.path}`, which gates, trains or measures every module alike")
        place = house / change.path
        try:
            after = change.applied(place.read_text(encoding="utf-8") if place.is_file() else None)
        except (Misapplied, OSError, UnicodeDecodeError) as error:
            raise Refused(f"its diff does not fit: {error}") from None
        if after is None:
            raise Refused(f"its diff deletes `{change.path}`")
        files[change.path] = after
    return files


def tried(patch: str, module: str, config: Mapping[str, Any], *, house: Path = HOUSE) -> sandbox.Outcome:
    """How `module` at `config` (its own Config's keys) does in its contract with `patch` applied; Refused when it cannot be applied."""
    files = files_of(patch, house=house)
    with tempfile.TemporaryDirectory(prefix="touchstone-trial-") as place:
        tree = Path(place)
        tree.chmod(0o755)
        for name in (*LAID, "plan"):
            shutil.copytree(house / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text, encoding="utf-8")
        program = TRIAL.format(tree=str(tree), module=module, config=dict(config))
        return sandbox.run(program, reads=[tree], memory=MEMORY, seconds=SECONDS, environment={"OMP_NUM_THREADS": "1"})
