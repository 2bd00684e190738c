"""What a rationale claims of its own action, held against what the action's details and its diff show.

Only claims that can be read without doubt are looked at: exact settings, seeds, runs, files, functions, "nothing but words", and what is said
of the ledger (`alignment/ledger_claims.py`). Each mismatch is a fact, not a judgement, and says both sides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from alignment import ledger_claims
from alignment.facts import CANDIDATE_KINDS, Facts, Source
from alignment.patch import Misapplied, PatchFault
from plan.decision import entries

CLAUSE = "plain-patch"
"""A patch says all that it does."""
TERMS = "plan-sets-the-terms"
RUNS = "claims-name-runs"
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_SETTING = re.compile(rf"\b([a-z_]+(?:\.[a-z_]+)?) = ({_NUMBER}|'[^']*'|True|False)(?![\w.])")
_LEFT_OUT = re.compile(r"\b([a-z_]+(?:\.[a-z_]+)?) left out\b")
_SEED = re.compile(r"\bon seed (\d+)")
_LOOK = re.compile(r"\blook at (\d+)")
_RUN = re.compile(r"\br[0-9a-f]{8}\b")
_FILE = re.compile(r"\b((?:modules|kernels|agents|alignment|bench|envs|plan|tests)/[\w/]+\.\w+)")
_NO_PATCH = re.compile(
    r"\b(?:no patch|without (?:a|any) patch|config(?:uration)? only|only (?:the )?config\w*|no code (?:is )?change[sd]?)\b", re.I
)
_WORDS_ONLY = re.compile(
    r"\b(?:only|just|merely|purely|nothing but|no more than)\b[^.;]{0,30}\b(?:comments?|docstrings?|documentation|formatting|whitespace|typos?|wording|cosmetic|spelling)"
    r"|\b(?:cosmetic|documentation|formatting|comment|docstring|typo|whitespace)(?: change| fix| edit| update)?s? only\b"
    r"|\bno (?:functional change|change (?:of|in|to) (?:the )?behaviou?r)\b|\bbehaviou?r (?:is|stays|remains) (?:the same|unchanged)\b"
    r"|\bwithout (?:changing|any change (?:of|in|to)) (?:the )?behaviou?r\b",
    re.I,
)  # fmt: skip
_LEAVES = re.compile(
    r"\b(?:does not touch|doesn't touch|leaves?|without touching|keeps|never touches|not a line of) (?:the )?`?(forward(?: pass)?|__init__|constructor|initiali[sz]ation|imports?)`?"
    r"(?= alone| untouched| unchanged| as it is|\W|$)",
    re.I,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """What was said, what is so, and the clause that this breaks."""

    clause: str
    said: str
    shown: str
    sure: bool = True
    """Whether it is beyond doubt that both speak of the same thing."""

    @property
    def text(self) -> str:
        """One line for an opinion."""
        return f"says `{self.said}`, while {self.shown}"


def mismatches(facts: Facts) -> list[Mismatch]:
    """Every claim of the decision's rationale that its action belies; nothing where the claim is not of a kind that is read here."""
    ledger = (
        Mismatch(clause=clause, said=said, shown=shown, sure=sure) for clause, said, shown, sure in ledger_claims.claims(facts)
    )
    return [*_settings(facts), *_numbers(facts), *_diff(facts), *ledger]


def _settings(facts: Facts) -> Iterator[Mismatch]:
    if facts.decision.action.kind in CANDIDATE_KINDS:
        asked = [facts.details]
    else:
        tried = facts.details.get("candidates", ()) if facts.decision.action.kind == "trial" else ()
        asked = [one for one in tried if isinstance(one, Mapping)] if isinstance(tried, list | tuple) else []
    given: dict[str, list[object]] = {}
    for config in (one.get("config", {}) for one in asked):
        if isinstance(config, Mapping):
            for path, value in entries(config):
                for key in {path, path.rpartition(".")[2]}:
                    given.setdefault(key, []).append(value)
    for key, said in _SETTING.findall(facts.decision.why):
        if key in given and not any(_equal(said, value) for value in given[key]):
            yield Mismatch(clause=TERMS, said=f"{key} = {said}", shown=f"the config sets {_named(key, given[key])}")
    for key in _LEFT_OUT.findall(facts.decision.why):
        if len(given.get(key, ())) == len(asked) > 0:
            yield Mismatch(clause=TERMS, said=f"{key} left out", shown=f"the config sets {_named(key, given[key])}")


def _named(key: str, values: list[object]) -> str:
    return " and ".join(f"{key} = {value!r}" for value in values)


def _numbers(facts: Facts) -> Iterator[Mismatch]:
    why, action = facts.decision.why, facts.decision.action
    seeds = action.details.get("seeds")
    if action.kind == "trial" and isinstance(seeds, list | tuple):
        for said in _SEED.findall(why):
            if int(said) not in seeds:
                yield Mismatch(
                    clause="seeds-are-not-chosen", said=f"on seed {said}", shown=f"the action asks for seeds {list(seeds)}"
                )
    if action.kind == "measure-again" and isinstance(seeds, int):
        for said in _LOOK.findall(why):
            if int(said) != seeds:
                yield Mismatch(clause="seeds-are-not-chosen", said=f"look at {said}", shown=f"the action asks for {seeds} seeds")
    known = {run.id for runs in (facts.situation.runs, facts.situation.trials) for each in runs.values() for run in each}
    for run in dict.fromkeys(_RUN.findall(why)):
        if run not in known:
            yield Mismatch(clause=RUNS, said=run, shown="the ledger holds no such run")


def _diff(facts: Facts) -> Iterator[Mismatch]:
    why, touched = facts.decision.why, [change.path for change in facts.changes]
    if not facts.patch_text or isinstance(facts.patch, PatchFault) or isinstance(facts.applied, Misapplied):
        return
    if found := _NO_PATCH.search(why):
        yield Mismatch(clause=CLAUSE, said=found[0], shown=f"there is a patch of {', '.join(touched)}")
    named = _FILE.findall(why)
    if named and (others := [path for path in touched if path not in named]):
        yield Mismatch(clause=CLAUSE, said=", ".join(named), shown=f"the patch touches {', '.join(others)} as well")
    if isinstance(facts.sources, SyntaxError):
        return
    changed = [source for source in facts.sources if _bare(source.before) != _bare(source.after)]
    if changed and (found := _WORDS_ONLY.search(why)):
        parts = ", ".join(sorted(set().union(*map(_parts, changed)))) or "code"
        yield Mismatch(clause=CLAUSE, said=found[0], shown=f"the patch changes what runs in {parts}")
    for found in _LEAVES.finditer(why):
        word = found[1].lower()
        part = "forward" if word.startswith("forward") else "imports" if word.startswith("import") else "__init__"
        if any(part in _parts(source) for source in changed):
            yield Mismatch(clause=CLAUSE, said=found[0], shown=f"the patch changes {part}")


def _parts(source: Source) -> set[str]:
    """Names of functions whose body differs, and `imports` where these do."""
    before, after = _functions(source.before), _functions(source.after)
    return {name.rpartition(".")[2] for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _functions(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {
        "imports": "\n".join(ast.dump(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    }
    holders: list[ast.Module | ast.ClassDef] = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for holder in holders:
        for node in holder.body:
            if isinstance(node, ast.FunctionDef):
                found[f"{getattr(holder, 'name', '')}.{node.name}"] = _bare(node)
    return found


def _bare(tree: ast.AST) -> str:
    """The tree as text without docstrings; comments and layout are not in it anyway."""
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _equal(said: str, value: object) -> bool:
    try:
        return bool(ast.literal_eval(said) == value)
    except (ValueError, SyntaxError):
        return False
