"""Conflicts that no text merge sees: a name one side removes or renames, and the other side newly uses.

Two sides are compared by what each did since it left its base. A clash is told only when the merged tree itself has the use and
lacks every definition it could mean, so that an analysis that understands too little stays silent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from agents.pulls.definitions import Definition, Facts, Key, Signature, Use
from agents.pulls.mergetree import Workshop
from agents.pulls.names import module_of, read
from bench.pulls import Clash, Spot

VERSION = 1
"""Counts up when the same commits may get another answer."""
ROOTS = ("", "src/", "lib/", "python/")
SHORTEST_MEMBER = 3
COMMON = frozenset(name for kind in (str, bytes, list, dict, set, tuple, int, float, BaseException, type) for name in dir(kind))
DEEPEST_BASE = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One path that a side changed; an empty id where there was, or is, no file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A definition that a side took away, or whose calls it changed."""

    path: str
    definition: Definition
    signature: Signature | None = None
    """The new one, where the definition stays."""


@dataclass(slots=True)
class Side:
    """What one side did between two commits."""

    name: str
    changes: tuple[Change, ...] = ()
    gone: dict[Key, Taken] = field(default_factory=dict)
    called_otherwise: dict[Key, Taken] = field(default_factory=dict)
    uses: list[tuple[str, Use]] = field(default_factory=list)
    """New ones: path and use."""


class Reader:
    """Reads sides and merged trees through one workshop; every file is parsed once."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._facts: dict[tuple[str, str], Facts | None] = {}
        self._changed: dict[tuple[str, str], tuple[Change, ...]] = {}
        self._sides: dict[tuple[str, str], Side] = {}

    def side(self, name: str, since: str, head: str) -> Side:
        """What happened from commit `since` to commit `head`."""
        if (since, head) not in self._sides:
            self._sides[since, head] = self._read_side(since, head)
        known = self._sides[since, head]
        return Side(name, known.changes, known.gone, known.called_otherwise, known.uses)

    def clashes(self, ours: Side, theirs: Side, *, tree: str, heads: tuple[str, str]) -> tuple[Clash, ...]:
        """What `ours` took away and `theirs` newly uses in the merged `tree`, and the other way round."""
        return (*self._clashes(ours, theirs, tree, heads[0]), *self._clashes(theirs, ours, tree, heads[1]))

    def _read_side(self, since: str, head: str) -> Side:
        changes = self.changes(since, head)
        python = [change for change in changes if change.path.endswith(".py")]
        self._load([(oid, change.path) for change in python for oid in (change.old, change.new) if oid])
        side = Side("", changes)
        before: Counter[tuple[tuple[Key, ...], object]] = Counter()
        after: list[tuple[str, Use]] = []
        for change in python:
            old, new = self._facts.get((change.old, change.path)), self._facts.get((change.new, change.path))
            if old is not None:
                before.update((use.keys, use.call) for use in old.uses)
                if new is not None or not change.new:
                    _note_taken(side, change.path, old, new)
            if new is not None:
                after += [(change.path, use) for use in new.uses]
        for path, use in after:
            known = use.keys, use.call
            if before[known]:
                before[known] -= 1
            else:
                side.uses.append((path, use))
        return side

    def changes(self, since: str, head: str) -> tuple[Change, ...]:
        """The paths that differ between two commits; no file is read for it."""
        if (since, head) not in self._changed:
            self._changed[since, head] = tuple(self._changes(since, head))
        return self._changed[since, head]

    def _changes(self, since: str, head: str) -> Iterator[Change]:
        fields = self.shop.run("diff-tree", "-r", "-z", "--no-renames", since, head).split("\0")
        for meta, path in zip(fields[::2], fields[1::2], strict=False):
            modes_old, mode_new, old, new, _ = meta.lstrip(":").split()
            yield Change(path, *(oid if mode.startswith("100") else "" for mode, oid in ((modes_old, old), (mode_new, new))))

    def _load(self, blobs: list[tuple[str, str]]) -> None:
        missing = [blob for blob in dict.fromkeys(blobs) if blob not in self._facts]
        found = self.shop.read([oid for oid, _ in missing]) if missing else {}
        for oid, path in missing:
            self._facts[oid, path] = read(found[oid][2], path) if oid in found else None

    def _in_tree(self, tree: str, path: str) -> Facts | None:
        """The facts of the file at `path` of the merged tree; None when there is none, or it cannot be parsed."""
        found = self.shop.read([f"{tree}:{path}"]).get(f"{tree}:{path}")
        if found is None or found[1] != "blob":
            return None
        self._facts.setdefault((found[0], path), read(found[2], path))
        return self._facts[found[0], path]

    def _clashes(self, taker: Side, user: Side, tree: str, taker_head: str) -> Iterator[Clash]:
        told: set[tuple[Key, str]] = set()
        for path, use in user.uses:
            for key in use.keys:
                if (key, path) in told:
                    continue
                if use.call is None and (taken := taker.gone.get(key)) is not None:
                    if self._still_used(tree, path, use) and not any(self._present(tree, one, taker_head) for one in use.keys):
                        told.add((key, path))
                        yield _clash(taker, user, key, taken, path, use, taken.definition.what)
                elif use.call is not None and (taken := taker.called_otherwise.get(key)) is not None:
                    old, new = taken.definition.signature, self._signature(tree, key)
                    fault = new.refuses(use.call) if old and new and not old.refuses(use.call) else ""
                    if fault and self._still_used(tree, path, use):
                        told.add((key, path))
                        yield _clash(taker, user, key, taken, path, use, fault)

    def _still_used(self, tree: str, path: str, use: Use) -> bool:
        facts = self._in_tree(tree, path)
        return facts is not None and any(one.keys == use.keys and one.call == use.call for one in facts.uses)

    def _signature(self, tree: str, key: Key) -> Signature | None:
        for path in _files_of(key[1]):
            if facts := self._in_tree(tree, path):
                found = facts.defines.get((key[0], *key[2:]))
                return found.signature if found else None
        return None

    def _present(self, tree: str, key: Key, taker_head: str) -> bool:
        """Whether the merged tree may hold a definition of `key`; in doubt it does."""
        match key:
            case ("module", name):
                places = [f"{tree}:{root}{name.replace('.', '/')}{end}" for root, end in product(ROOTS, (".py", ""))]
                return bool(self.shop.read(places))
            case ("name", module, name):
                facts = [one for path in _files_of(module) if (one := self._in_tree(tree, path))]
                return any(one.open or ("name", name) in one.defines for one in facts) or self._unreadable(tree, module)
            case ("attribute", module, owner, name):
                return self._has_attribute(tree, module, owner, name, taker_head, depth=0)
            case ("member", name):
                return self._mentioned(name, tree, taker_head)
        return True

    def _unreadable(self, tree: str, module: str) -> bool:
        found = self.shop.read([f"{tree}:{path}" for path in _files_of(module)])
        return any(self._in_tree(tree, spec.partition(":")[2]) is None for spec in found)

    def _has_attribute(self, tree: str, module: str, owner: str, name: str, taker_head: str, *, depth: int) -> bool:
        facts = next((one for path in _files_of(module) if (one := self._in_tree(tree, path))), None)
        if facts is None or ("name", owner) not in facts.defines or depth > DEEPEST_BASE:
            return self._mentioned(name, tree, taker_head)
        if ("attribute", owner, name) in facts.defines or facts.defines["name", owner].what != "class":
            return True
        for base in facts.bases.get(owner, ()):
            if base[0] == "?":
                if self._mentioned(name, tree, taker_head):
                    return True
            elif self._has_attribute(tree, base[1], base[2], name, taker_head, depth=depth + 1):
                return True
        return False

    def _mentioned(self, name: str, tree: str, taker_head: str) -> bool:
        """Whether the side that took the attribute away still speaks of one so called, or the merged tree defines one.

        Who removes or renames an attribute changes all its uses; one that is left belongs to something else.
        """
        if len(name) < SHORTEST_MEMBER or name in COMMON or name.startswith("__"):
            return True
        word = re.escape(name)
        defined = re.compile(rf"\b(def|class)\s+{word}\b|\b{word}\s*(:[^=]*)?=[^=]|^\s*{word}\s*:|['\"]{word}['\"]")
        spoken = re.compile(rf"\.\s*{word}\b|{defined.pattern}")
        return any(
            pattern.search(line)
            for where, pattern in ((taker_head, spoken), (tree, defined))
            for line in self._lines(name, where)
        )

    def _lines(self, word: str, where: str) -> list[str]:
        _, out, _ = self.shop.attempt("grep", "-I", "-h", "-w", "-F", "-e", word, where, "--", "*.py")
        return out.decode(errors="replace").splitlines()


def _note_taken(side: Side, path: str, old: Facts, new: Facts | None) -> None:
    """What became of the definitions of one file."""
    module = module_of(path)
    if new is None:
        side.gone["module", module] = Taken(path, Definition(1, "module"))
        for key, definition in old.defines.items():
            if key[0] == "attribute":
                side.gone.setdefault(("member", key[2]), Taken(path, definition))
        return
    for key, definition in old.defines.items():
        whole = (key[0], module, *key[1:])
        if key not in new.defines:
            if key[0] == "attribute":
                side.gone.setdefault(("member", key[2]), Taken(path, definition))
                if ("name", key[1]) not in new.defines:
                    continue  # the whole class is gone, and that is told
            if not new.open:
                side.gone[whole] = Taken(path, definition)
        elif (was := definition.signature) and (now := new.defines[key].signature) and was != now:
            side.called_otherwise[whole] = Taken(path, definition, now)


def _files_of(module: str) -> list[str]:
    inner = module.replace(".", "/")
    return [f"{root}{inner}{end}" for root, end in product(ROOTS, (".py", "/__init__.py"))]


def _clash(taker: Side, user: Side, key: Key, taken: Taken, path: str, use: Use, what: str) -> Clash:
    return Clash(
        name=".".join(key[1:]),
        what=what,
        gone_by=taker.name,
        gone=Spot(path=taken.path, line=taken.definition.line),
        used_by=user.name,
        used=Spot(path=path, line=use.line),
    )
