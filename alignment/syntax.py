"""Names in a syntax tree as what they stand for, and what a patch adds of them.

An `import torch.nn.functional as F` makes `F.cross_entropy` stand for `torch.nn.functional.cross_entropy`; `getattr(F, "x")` with
a literal counts as `F.x`. What is assigned to another name is seen where it is first named, not where it is used.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from alignment.facts import Facts

BUILTINS = frozenset(dir(builtins)) | {"__builtins__"}
MODULES = frozenset(
    {f"torch.{name}" for name in ("nn", "nn.functional", "autograd", "cuda", "linalg", "fft", "special", "optim")}
)
"""What is a module though it is imported from one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a look: what it is (as source), where, and why."""

    what: str
    line: int
    why: str


class Names:
    """One file's names, resolved."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.imported: dict[str, str] = {}
        self._whole: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.imported[alias.asname or top] = alias.name if alias.asname else top
                    self._whole.add(alias.asname or top)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"

    @cached_property
    def shadowed(self) -> frozenset[int]:
        """Names (by `id` of the node) in a function's body that are its parameters."""
        found: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                taken = {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
                body = node.body if isinstance(node.body, list) else [node.body]
                found |= {
                    id(part)
                    for statement in body
                    for part in ast.walk(statement)
                    if isinstance(part, ast.Name) and part.id in taken
                }
        return frozenset(found)

    @cached_property
    def lasting(self) -> frozenset[str]:
        """Names of what outlives a call: what is imported, built in, defined here, and what is set to a part of these."""
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = {*self.imported, *BUILTINS, *(node.name for node in ast.walk(self.tree) if isinstance(node, kinds))}
        for node in ast.walk(self.tree):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
                targets = [node.target]
            value = getattr(node, "value", None) if targets else None
            if isinstance(value, (ast.Name, ast.Attribute)) and (root := self.root(value)) and root.id in found:
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
        return frozenset(found)

    def modules_handed_on(self) -> Iterator[ast.Name]:
        """Names of modules that stand alone, and not in front of one of their parts."""
        modules = {name for name, dotted in self.imported.items() if name in self._whole or dotted in MODULES}
        bases = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and node.id in modules and id(node) not in bases | self.shadowed:
                yield node

    def dotted(self, node: ast.expr) -> str:
        """What an expression names, in full; empty for anything but what is imported or built in, and attributes of it."""
        if isinstance(node, ast.Name):
            known = self.imported.get(node.id) or (node.id if node.id in BUILTINS else "")
            return "" if id(node) in self.shadowed else known
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        if isinstance(node, ast.Call) and self.dotted(node.func) == "getattr" and len(node.args) >= 2:
            name, base = node.args[1], self.dotted(node.args[0])
            return f"{base}.{name.value}" if base and isinstance(name, ast.Constant) and isinstance(name.value, str) else ""
        return ""

    def root(self, node: ast.expr) -> ast.Name | None:
        """The name that a chain of attributes, items and calls begins with."""
        while not isinstance(node, ast.Name):
            if isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
                node = node.value
            elif isinstance(node, ast.Call) and self.dotted(node.func) in ("type", "super", "getattr"):
                node = node.func
            else:
                return None
        return node

    def uses(self) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
        """(node, what it stands for) of every import, and of every longest chain of names that is read."""
        inner: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)
            elif isinstance(node, (ast.Attribute, ast.Name)) and id(node) not in inner:
                part: ast.expr = node
                while isinstance(part, ast.Attribute):
                    part = part.value
                    inner.add(id(part))
                if dotted := self.dotted(node):
                    yield node, dotted
            elif isinstance(node, ast.Call) and (dotted := self.dotted(node)):
                yield node, dotted


Look = Callable[[Names], Iterator[Finding]]


def added(facts: Facts, look: Look) -> str:
    """What `look` finds in the patched files more often than before, the first of it, with its place; empty for nothing."""
    if isinstance(facts.sources, SyntaxError):
        return ""
    for source in facts.sources:
        before = Counter(finding.what for finding in look(Names(source.before)))
        for finding in sorted(look(Names(source.after)), key=lambda finding: finding.line):
            before[finding.what] -= 1
            if before[finding.what] < 0:
                return f"`{source.change.path}` line {finding.line}: `{finding.what}` {finding.why}"
    return ""


def finding(node: ast.AST, why: str) -> Finding:
    """A finding at `node`; its source is cut to one short line."""
    text = " ".join(ast.unparse(node).split())
    return Finding(what=text if len(text) <= 80 else text[:77] + "...", line=getattr(node, "lineno", 0), why=why)
