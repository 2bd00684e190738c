"""Instruments: what measures inside the worker keeps its meaning while a candidate runs beside it.

Before the first candidate file is compiled, every function, class and constant of the benchmark, the trainer and the shell is noted, and so is
what they use of torch, numpy and the standard library: which object a name stands for, which code a function runs. Later each is
compared with that note. A candidate in the same process can undo what it did; so those that a score is taken with are also compared
after every forward in evaluation, when nothing of the candidate's runs between them and the score.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

FOREIGN = (
    *("builtins", "math", "time", "random", "json", "statistics", "hmac", "hashlib", "os", "io", "struct", "zlib", "lzma"),
    *(
        "torch",
        "torch._tensor",
        "torch.nn",
        "torch.nn.functional",
        "torch.nn.init",
        "torch.nn.modules.module",
        "torch.nn.modules.linear",
    ),
    *("torch.nn.modules.sparse", "torch.nn.modules.normalization", "torch.nn.modules.container", "torch.nn.utils.clip_grad"),
    *("torch.autograd", "torch.autograd.grad_mode", "torch.random", "torch.utils.flop_counter", "numpy", "numpy.random"),
)
"""Modules of others that scores are made with: their functions and classes are noted, not their state."""
HOT = (
    *(
        "torch.nn.functional.cross_entropy",
        "torch.nn.functional.linear",
        "torch.Tensor.argmax",
        "torch.Tensor.item",
        "torch.Tensor.sum",
    ),
    *("torch.Tensor.__eq__", "torch.Tensor.__float__", "torch.Tensor.__int__", "torch.no_grad", "torch.split", "torch.randint"),
    *("time.perf_counter", "time.monotonic", "time.process_time", "numpy.random.default_rng", "builtins.float", "builtins.int"),
    *("builtins.sum", "builtins.max", "builtins.len", "builtins.isinstance", "math.log", "math.isfinite", "torch.Tensor.flatten"),
)
"""What a score is taken with, compared after each forward in evaluation."""
HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks", "_global_backward_pre_hooks")
NEW_NAMES = frozenset(dir(builtins))
"""Names that mean something else to a module once it has one of its own."""


class Instruments:
    """A note of what measures; `changed()` is the first that is not what it was, or empty."""

    def __init__(self, own: tuple[str, ...]) -> None:
        self._own = own
        """Folders and files (as prefixes) of the house that measure."""
        self._noted: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._hot: list[tuple[Any, str, Any]] = []

    def note(self) -> None:
        """Note the modules that are loaded by now and were not noted before; what is still being imported waits."""
        for name, module in list(sys.modules.items()):
            if name not in self._noted and self._measures(name, module) and not _unfinished(module):
                self._noted[name] = dict(self._parts(name, module))
        if not self._hot and "torch" in sys.modules:
            self._hot = [(owner, last, getattr(owner, last)) for owner, last in filter(None, map(_owner, HOT))]

    def _measures(self, name: str, module: ModuleType) -> bool:
        return name in FOREIGN or str(_seen(module).get("__file__") or "").startswith(self._own)

    def _parts(self, name: str, module: ModuleType) -> Iterator[tuple[str, tuple[Any, ...]]]:
        for key, value in list(_seen(module).items()):
            if key.startswith("__") or (name in FOREIGN and not isinstance(value, (FunctionType, BuiltinFunctionType, type))):
                continue
            if not isinstance(value, (dict, list, set)):
                yield key, _identity(value)
            if isinstance(value, type) and (value.__module__ == name or key in ("Tensor", "Module")):
                for inner, part in list(vars(value).items()):
                    if isinstance(part, (FunctionType, property, staticmethod, classmethod)):
                        yield f"{key}.{inner}", _identity(part)

    def changed(self) -> str:
        """The first name that stands for something else than it did, in full; empty when none does."""
        for name, before in self._noted.items():
            module = sys.modules.get(name)
            if module is None:
                return name
            now = dict(self._parts(name, module))
            for key, value in before.items():
                if now.get(key) != value:
                    return f"{name}.{key}"
            for key in now.keys() - before.keys():
                part = sys.modules.get(f"{name}.{key}")  # a package has its modules as names: `bench.suites.bytes`
                if key in NEW_NAMES and name != "builtins" and (part is None or _seen(module)[key] is not part):
                    return f"{name}.{key}"
        modules = sys.modules.get("torch.nn.modules.module")
        if modules and (hook := next((hook for hook in HOOKS if getattr(modules, hook, None)), None)):
            return f"torch.nn.modules.module.{hook}"
        return self.hot()

    def hot(self) -> str:
        """As `changed`, of those that a score is taken with alone: takes microseconds."""
        for owner, last, before in self._hot:
            if getattr(owner, last, None) is not before:
                return f"{getattr(owner, '__name__', owner)}.{last}"
        torch = sys.modules.get("torch")
        if torch and (torch._C._len_torch_function_stack() or torch.is_grad_enabled() is None):
            return "torch's function modes"
        return ""


def _identity(value: Any) -> tuple[Any, ...]:
    """What a name stands for: the object, and of a function also what it would run. The objects themselves, so that no id is used twice."""
    function = getattr(value, "__func__", value)
    if isinstance(function, property):
        return (_Same(value), *(_Same(part) for part in (function.fget, function.fset)))
    if isinstance(function, FunctionType):
        cells = [cell for cell in function.__closure__ or () if not _empty(cell)]
        contents = (cell.cell_contents for cell in cells)
        return (_Same(value), _Same(function.__code__), _Same(function.__defaults__), *(
            _Same(item) for item in contents if callable(item)))  # fmt: skip
    return (_Same(value),) if not isinstance(value, (int, float, str, bytes)) else (value, type(value))


def _empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty one raises
    except ValueError:
        return True
    return False


class _Same:
    """Equal only to the same object."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing

    __hash__ = None  # type: ignore[assignment]


def _seen(module: ModuleType) -> dict[str, Any]:
    """What a module holds by now; asking a lazy one for more would make it import."""
    return getattr(module, "__dict__", {})


def _unfinished(module: ModuleType) -> bool:
    return bool(getattr(_seen(module).get("__spec__"), "_initializing", False))


def _owner(dotted: str) -> tuple[Any, str] | None:
    """The object that a dotted name is an attribute of, and the attribute; none when it is not there."""
    *parts, last = dotted.split(".")
    owner: Any = None
    for depth in range(len(parts), 0, -1):
        if (owner := sys.modules.get(".".join(parts[:depth]))) is not None:
            for part in parts[depth:]:
                owner = getattr(owner, part, None)
            break
    return (owner, last) if owner is not None and hasattr(owner, last) else None
