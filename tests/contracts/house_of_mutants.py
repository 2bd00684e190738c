"""A copy of the shelf whose files may be edited, and a process that runs one check on one module of it as it then is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernels import native
from plan.catalogue import HOUSE

ANSWER = """
import json, os, sys
import torch, torch._dynamo
torch.set_num_threads(1)
for line in sys.stdin:
    if os.fork():
        if os.wait()[1]:
            print("null", flush=True)  # why stands on stderr
        continue
    name, settings, claim = json.loads(line)
    from modules import contract
    from modules.settings import build_config
    from plan import catalogue
    block = catalogue.load("module", name)
    config = build_config(sys.modules[block.__module__].Config, {"d_model": contract.WIDTH, **settings}, where=name)
    subject = contract.Subject(block=block, config=config, metrics={})
    found = []
    for recorded in (True, False) if contract.CHECKS[claim] in contract.DECODING else (True,):
        with torch.set_grad_enabled(recorded):
            found += contract.CHECKS[claim](subject)
    print(json.dumps(found), flush=True)
    os._exit(0)
"""
"""Every line is answered by a process of its own, which imports the shelf as it then is."""


class Shelf:
    """`kernels`, `modules` and `plan` in a folder of their own; libraries that are built already are not built again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for package in ("plan", "kernels", "modules"):
            shutil.copytree(HOUSE / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        cache = root / "cache" / "touchstone" / "native"
        cache.mkdir(parents=True, mode=0o700)
        for library in filter(None, map(native.built, native.names())):
            (cache / library.name).symlink_to(library)
        env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(root / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ANSWER], cwd=root, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def complaints(self, module: str, claim: str, **settings: Any) -> list[str]:
        """What the check `claim` says of `module` built with `settings`."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([module, settings, claim]), file=self.process.stdin, flush=True)
        answer: list[str] | None = json.loads(self.process.stdout.readline())
        assert answer is not None, f"`{module}` could not be checked"
        return answer

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """`old`, which stands once in `file`, is `new` for a while."""
        path = self.root / file
        before = path.read_text()
        assert old in before, f"`{file}` no longer says `{old}`; plant the bug in what it says now"
        path.write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(before)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
