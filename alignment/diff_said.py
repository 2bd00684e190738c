"""What a rationale says of its own patch, held against it: which files, how many lines, nothing but words, a part left alone.

That a comment is all that changes is read off the syntax trees and is a fact. That behaviour stays the same is not: trees that differ may compute
the same, so where they do differ the claim is left open.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from alignment.asserted import clause, conditional, denied, hoped
from alignment.facts import Facts, Source
from alignment.patch import Misapplied, PatchFault
from alignment.settings_said import COUNTS

_FILE = re.compile(r"\b((?:modules|kernels|agents|alignment|bench|envs|plan|tests)/[\w/]{1,200}\.\w{1,12})")
_LIKENED = re.compile(
    r"\b(?:like|unlike|as|mirror\w*|same|similar|borrow\w*|taken|from|than|see|after|follow\w*|cop(?:y|ies|ied)|inspired|compare\w*|what|which|where|how|of)\b",
    re.I,
)
_NO_PATCH = re.compile(r"\b(?:no patch|without (?:a|any) patch|config(?:uration)? only|only (?:the )?config\w*)\b", re.I)
_WORDS = (
    r"(?:comments?|docstrings?|documentation|formatting|whitespace|blank lines|typos?|wording|cosmetic\w*|spelling|punctuation)\b"
)
_TO = r"(?:(?!\b(?:as|what|like|when|after|before|if|says?|said|than|where|besides|except|apart|beyond)\b)[^.;,]){0,40}?"
_WORDS_ONLY = re.compile(
    rf"\b(?:only|just|merely|purely|solely|entirely|exclusively|strictly|simply|nothing but|no more than)\b{_TO}\b{_WORDS}"
    rf"|\b{_WORDS}(?: change| fix| edit| update| clean-?up)?s? (?:only|alone)\b"
    rf"|\ball (?:of (?:it|them|these|that|which)|in|is|are|but)(?: in| are| is| just| a| the)* {_WORDS}"
    r"|\b(?:nothing|no line|no statement) that (?:runs|is run|is executed|executes|computes)(?: \w+)? (?:changed?s?|differs?|different|touched|altered)\b"
    r"|\bno code (?:is |was |gets )?(?:change[sd]?|touched|altered|affected)\b",
    re.I,
)  # fmt: skip
_WORK = r"(?:behaviou?r|semantics|function(?:s|ality|ing)?|numerics|numbers|results?|outputs?|arithmetic|maths?|computation|logic|what (?:runs|it computes|is computed))"
_SAME = r"(?:same|unchanged|preserved|untouched|identical|kept|intact|unaffected|equivalent|as (?:it|they) (?:is|was|are|were)|not (?:\w+ )?(?:changed|affected|altered|touched|modified|different))"
_BEHAVES = re.compile(
    rf"\b{_WORK}(?: \w+){{0,2}}? (?:is|are|stays?|remains?|keeps?|will be)(?: \w+)?? (?:the |all )?{_SAME}\b"
    rf"|\b(?:preserv|retain|maintain)\w*(?: \w+)?? {_WORK}\b|\b(?:keep|leav)\w*(?: \w+)?? {_WORK}(?= {_SAME}|\s*(?:[.,;:]|$))"
    rf"|\bno (?:functional|behaviou?ral|semantic|numerical) (?:change|difference|effect)s?\b"
    rf"|\b(?:no|without|without any|zero|any) (?:change|difference|effect)s? (?:of|in|to|on)(?: the| its)? {_WORK}\b|\bwithout (?:chang|alter|affect|touch)ing(?: the| its)? {_WORK}\b"
    rf"|\b(?:same|identical|equivalent) (?:behaviou?r|semantics|function|numerics|outputs|arithmetic|computation)\b"
    r"|\bbehav(?:es?|ing)(?: exactly| just| the)? (?:like|as|same)\b|\bnothing (?:changes|is changed|differs|is different|is altered)\b|\bchanges nothing\b"
    r"|\b(?:is|as|a|only) (?:a )?no-?op\b|\b(?:behaviou?r|semantics|function)-?preserving\b|\bpure(?:ly)?(?: a)? refactor\w*",
    re.I,
)  # fmt: skip
_TIDIES = re.compile(
    rf"\b(?:tid(?:y|ies|ied|ying)|clean\w*|polish\w*|reword\w*|rephras\w*|reformat\w*|rewrap\w*|fix\w*|correct\w*|clarif\w*)\b[^.;]{{0,40}}?\b{_WORDS}", re.I
)  # fmt: skip
_DOES = re.compile(
    r"\b(?:adds?|gains?|adding|chang\w+|replac\w+|mov\w+|scal\w+|sets?|mak\w+|uses?|us\w+|comput\w+|divid\w+|multipl\w+|normali\w+|initiali\w+|"
    r"drops?|removes?|rais\w+|lower\w*|insert\w*|return\w*|clamp\w*|mask\w*|start\w*|constants?|attributes?|param\w+)\b",
    re.I,
)  # fmt: skip
_PART = r"`?(forward(?: pass| method)?|__init__|(?<=`)[a-z_]\w{0,60}(?=`)|constructor|initiali[sz]ation|imports?)`?"
_ALONE = r"(?:alone|untouched|unchanged|intact|the same|as (?:it|they) (?:is|are|was|were)|as is|be)\b"
_LEAVES = re.compile(
    rf"\b(?:does not touch|doesn't touch|without touching|without changing|never touches|not a line of) (?:the )?{_PART}"
    rf"|\b(?:leaves?|keeps|leaving|keeping) (?:the )?{_PART}(?: {_ALONE}|(?=\s*(?:[.,;:]|$)))"
    rf"|(?:\bthe )?{_PART} (?:is|are|was|were|stays?|remains?)(?: left| kept| all)?? (?:{_ALONE}|not (?:\w+ )?(?:changed|touched|modified|altered|edited))",
    re.I,
)  # fmt: skip
_HISTORY = re.compile(
    r"^\W*(?:did|got|gave|brought|failed|helped|had|stalled|led|came|is not|isn't|was not|wasn't|will not|won't|cannot)\b", re.I
)
_LINES = re.compile(
    rf"\bpatch of (\d{{1,9}}) lines?\b|\b(\d{{1,9}}|{'|'.join(COUNTS)}) lines? (?:is|are|was|were|gets?) (?:touched|changed|added|edited|altered)( at (?:the )?most)?",
    re.I,
)

Shown = tuple[str, str, bool]
"""(what was said, what is so, whether that is beyond doubt)."""


def diff_said(facts: Facts) -> Iterator[Shown]:
    """Every claim of the rationale that the patch belies; nothing where there is none, or it cannot be read."""
    why, touched = facts.why, [change.path for change in facts.changes]
    if not facts.patch_text or isinstance(facts.patch, PatchFault) or isinstance(facts.applied, Misapplied):
        return
    yield from _lines(why, facts.patch_text)
    if found := _first(_NO_PATCH, why):
        yield found[0], f"there is a patch of {', '.join(touched)}", True
    named = [one[1] for one in _FILE.finditer(why) if not _LIKENED.search(clause(why, one.start(), one.end())[0])]
    if named and (others := [path for path in touched if path not in _FILE.findall(why)]):
        yield ", ".join(named), f"the patch touches {', '.join(others)} as well", True
    if isinstance(facts.sources, SyntaxError):
        return
    changed = [source for source in facts.sources if bare(source.before) != bare(source.after)]
    if not changed:
        return
    parts = set().union(*map(parts_of, changed))
    named_parts = ", ".join(sorted(parts)) or "code"
    if found := _first(_WORDS_ONLY, why):
        yield found[0], f"the patch changes what runs in {named_parts}", True
    elif found := _first(_BEHAVES, why):
        yield found[0], f"the patch changes what runs in {named_parts}, of which nobody has shown that it does the same", False
    elif (found := _first(_TIDIES, why)) and not _DOES.search(why) and not any(re.search(rf"\b{part}\b", why) for part in parts):
        yield found[0], f"the patch changes what runs in {named_parts}, of which it says nothing", False
    for found in _LEAVES.finditer(why):
        word = next(group for group in found.groups() if group)
        low = word.lower()
        part = "forward" if low.startswith("forward") else "imports" if low.startswith("import") else word
        part = "__init__" if low.startswith(("constructor", "initiali")) else part
        if part in parts and not denied(why, found.start()) and not hoped(why, found.start(), found.end()):
            yield found[0], f"the patch changes {part}", True


def _first(form: re.Pattern[str], why: str) -> re.Match[str] | None:
    """The first match that is neither denied, nor hoped for, nor told of what was tried before."""
    for found in form.finditer(why):
        after = clause(why, found.start(), found.end())[1]
        if not (denied(why, found.start()) or conditional(why, found.start()) or _HISTORY.search(after)):
            return found
    return None


def _lines(why: str, patch: str) -> Iterator[Shown]:
    if not (found := _LINES.search(why)):
        return
    said = found[1] or found[2]
    count = int(said) if said.isdigit() else int(COUNTS[said.lower()])
    text = patch.splitlines()
    added, taken = (sum(line.startswith(sign) and not line.startswith(sign * 3) for line in text) for sign in "+-")
    if max(added, taken) > count if found[3] else count not in (added, taken, added + taken):
        yield found[0], f"the patch adds {added} lines and takes {taken} away", True


def parts_of(source: Source) -> set[str]:
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
                found[f"{getattr(holder, 'name', '')}.{node.name}"] = bare(node)
    return found


def bare(tree: ast.AST) -> str:
    """The tree as text without docstrings; comments and layout are not in it anyway."""
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
