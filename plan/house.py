"""Makes sure that the seven packages on the import path are this house and not strangers of the same name.

`openai-agents` installs a package `agents`, Hugging Face's `kernels` a package `kernels`; pip
overwrites silently. The check finds each package without importing it (about 1 ms).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from plan.catalogue import HOUSE

PACKAGES = ("agents", "alignment", "bench", "envs", "kernels", "modules", "plan")

INSTRUMENTS = frozenset(
    {f"modules/{name}.py" for name in ("__init__", "adamw", "checkpoint", "contract", "decoder", "settings", "trainer", "tried")}
    | {f"kernels/{name}.py" for name in ("__init__", "agreement", "cross_entropy", "native", "paths", "precision")}
)
"""Files beside the candidates that measure them: the trainer, the shell, the loss, the contract, what compiles kernels."""


class StrangerInTheHouse(Exception):
    """A package of this house resolves to somebody else's files."""


def user_cache() -> Path:
    """The folder in which this house may keep for its user what can be made anew; it need not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")) / "touchstone"


def locate() -> dict[str, Path | None]:
    """Folder that each package would be imported from; None where there is none."""
    found: dict[str, Path | None] = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        found[name] = Path(spec.origin).resolve().parent if spec and spec.origin else None
    return found


def check_house() -> None:
    """Raise StrangerInTheHouse when any of the seven packages is missing or comes from elsewhere."""
    for name, folder in locate().items():
        if folder != HOUSE / name:
            raise StrangerInTheHouse(
                f"package `{name}` is found at {folder or 'no place at all'}, not in {HOUSE}\n"
                f"  another distribution has probably installed a package called `{name}`; nothing was run\n"
                f"  mend: install touchstone-lab in a virtual environment of its own"
            )
    here = Path.cwd()
    if here != HOUSE and (here / "plan" / "house.py").is_file() and (here / "pyproject.toml").is_file():
        raise StrangerInTheHouse(
            f"this folder is a Touchstone of its own, and what would run is the one in {HOUSE}\n"
            f"  its plan would be measured with other code than stands here; nothing was run\n"
            f"  mend: `python -m pip install -e .` here, in a virtual environment of its own, or start it in {HOUSE}"
        )
