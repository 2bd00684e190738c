"""The `toml config` fence of a task: typed overrides of the module's Config, of the decoder and of the recipe."""

from __future__ import annotations

import ast
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from plan.catalogue import Shelves, suggest
from plan.fields import Field
from plan.layout import Block, Layout
from plan.pieces import Piece
from plan.units import digits

_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)")
_TABLE = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_WRITTEN = {
    "int": "a whole number without a point (`4`)",
    "float": "a finite number (`0.5`)",
    "bool": "`true` or `false`",
    "str": "text in quotes",
}
_CALLED = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list", dict: "a table"}


def read_config(page: Layout, block: Block, shelves: Shelves, module: str | None) -> Mapping[str, Any]:
    """The overrides of a config fence, each checked against the fields it overrides.

    `module` is the task's module, or None when it is not known, in which case its keys are not checked.
    A whole number given for a `float` field becomes a float, so that `1` and `1.0` are the same run.
    """
    lines = page.lines[block.first + 1 : block.last - 1]
    try:
        read = tomllib.loads("\n".join(line.text for line in lines) + "\n")
    except RecursionError:
        place = page.lines[block.first].strip()
        page.report(
            "P029", "the config is nested too deeply", place, label="in here", help="a config is a few keys and two tables"
        )
        return {}
    except ValueError as error:
        where = _AT_LINE.search(str(error))
        row, column = (int(where[1]) - 1, int(where[2]) - 1) if where else (len(lines) - 1, 0)
        place = lines[row].cut(min(column, len(lines[row].text))) if 0 <= row < len(lines) else page.lines[block.first].strip()
        help = "text needs quotes, true and false are lower case, one `key = value` a line"
        if where and re.search(r"overwrite|twice", str(error)):
            place, help = lines[row].strip(), "it stands above already; keep one of them"
        said = str(error).replace("(at end of document)", "at the end of the config")
        page.report("P029", "the config is not TOML", place, label=_AT_LINE.sub("", said).lower(), help=help)
        return {}
    tables = {"decoder": shelves.decoder, "recipe": shelves.recipe}
    own = shelves.modules[module].fields if module and module in shelves.modules else None
    checked: dict[str, Any] = {}
    for key, value in read.items():
        if key in tables and not isinstance(value, dict):
            page.report("P030", f"`{key}` is a table, not {_said(value)}", _place(page, block, (key,)), label="not a table",
                        help=f"write `[{key}]` on a line of its own, and its keys below")  # fmt: skip
        elif key in tables:
            whole = {name: _checked(page, block, (key, name), item, tables[key], f"`[{key}]`") for name, item in value.items()}
            checked[key] = whole
        elif isinstance(value, dict) and (own is None or key not in own):
            near = suggest(key, tables)
            page.report("P030", f"unknown table `[{key}]` in the config", _place(page, block, (key,)), label="no such table",
                        help=f"did you mean `[{near}]`?" if near else "the tables are `[decoder]` and `[recipe]`")  # fmt: skip
        elif own is not None:
            checked[key] = _checked(page, block, (key,), value, own, f"`{module}`", tables)
    return checked


def fits(value: Any, annotation: str) -> bool:
    """Whether a TOML value may stand for a field annotated `annotation`; an annotation not known here admits anything."""
    try:
        return _fits(value, ast.parse(annotation, mode="eval").body)
    except SyntaxError:
        return True


def _checked(
    page: Layout, block: Block, path: Sequence[str], value: Any, fields: Mapping[str, Field], owner: str,
    tables: Mapping[str, Mapping[str, Field]] = {},
) -> Any:  # fmt: skip
    key = path[-1]
    if key not in fields:
        near = suggest(key, fields)
        table = next((name for name, inside in tables.items() if key in inside), None)
        known = ", ".join(f"`{name}`" for name in fields) or "none"
        help = f"did you mean `{near}`?" if near else f"it belongs under `[{table}]`" if table else f"the keys are {known}"
        page.report("P030", f"{owner} has no config key `{key}`", _place(page, block, path), label="no such key", help=help)
        return value
    field = fields[key]
    annotation, limits = field.annotation, field.limits
    if not fits(value, annotation) or not _plain(value):
        page.report(
            "P031", f"`{key}` of {owner} is {_said(value)}, which is not `{annotation}`", _place(page, block, path),
            label=f"wants `{annotation}`", help=_type_help(value, annotation),
        )  # fmt: skip
    elif limits and not field.admits(value):
        page.report("P031", f"`{key}` of {owner} cannot be {value}", _place(page, block, path), label="out of range",
                    help=f"it lies between {digits(limits[0])} and {digits(limits[1])}")  # fmt: skip
    return float(value) if annotation == "float" and isinstance(value, int) and not isinstance(value, bool) else value


def _type_help(value: Any, annotation: str) -> str:
    if isinstance(value, str) and any(fits(read, annotation) for read in _unquoted(value)):
        return f"write it without quotes: `{value}`"
    if annotation.startswith("str"):
        return "put it in quotes"
    if "Literal" in annotation:
        choices = re.findall(r"'([^']*)'", annotation)
        near = suggest(str(value), choices)
        return f"did you mean `{near}`?" if near else "write one of " + ", ".join(f'`"{choice}"`' for choice in choices)
    return f"write {_in_words(ast.parse(annotation, mode='eval').body)}"


def _in_words(kind: ast.expr) -> str:
    """What a TOML value for an annotation looks like."""
    match kind:
        case ast.Name(id=name) if name in _WRITTEN:
            return _WRITTEN[name]
        case ast.BinOp(op=ast.BitOr(), left=left, right=ast.Constant(value=None)):
            return f"{_in_words(left)}, or leave the key out"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=elements)) if not any(
            isinstance(one, ast.Constant) for one in elements
        ):
            return f"a list of {len(elements)} values, each {_in_words(elements[0])}"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[first, *_])):
            return f"a list of values, each {_in_words(first)}"
        case ast.Subscript(value=ast.Name(id="list" | "Sequence"), slice=inner):
            return f"a list of values, each {_in_words(inner)}"
    return f"what `{ast.unparse(kind)}` admits"


def _unquoted(value: str) -> list[Any]:
    try:
        return [tomllib.loads(f"x = {value}")["x"]]
    except tomllib.TOMLDecodeError:
        return []


def _fits(value: Any, kind: ast.expr) -> bool:
    match kind:
        case ast.Constant(value=str(quoted)):
            return fits(value, quoted)
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="float"):
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case ast.Name(id="bool"):
            return isinstance(value, bool)
        case ast.Name(id="str"):
            return isinstance(value, str)
        case ast.Name(id="list" | "tuple" | "Sequence"):
            return isinstance(value, list)
        case ast.Name(id="dict" | "Mapping"):
            return isinstance(value, dict)
        case ast.BinOp(op=ast.BitOr()):
            return _fits(value, kind.left) or _fits(value, kind.right)
        case ast.Subscript(value=ast.Name(id="Literal")):
            return any(value == choice and type(value) is type(choice) for choice in _choices(kind.slice))
        case ast.Subscript(value=ast.Name(id="dict" | "Mapping")):
            return isinstance(value, dict)
        case ast.Subscript(value=ast.Name(id="list" | "Sequence")):
            return isinstance(value, list) and all(_fits(item, kind.slice) for item in value)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=elements)):
            if len(elements) == 2 and isinstance(elements[1], ast.Constant) and elements[1].value is Ellipsis:
                return isinstance(value, list) and all(_fits(item, elements[0]) for item in value)
            return (
                isinstance(value, list)
                and len(value) == len(elements)
                and all(_fits(item, element) for item, element in zip(value, elements, strict=True))
            )
    return True


def _choices(kind: ast.expr) -> list[Any]:
    elements = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return [element.value for element in elements if isinstance(element, ast.Constant)]


def _plain(value: Any) -> bool:
    """Whether the ledger can write the value: no dates, no infinity."""
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


def _said(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"`{value}`"
    return _CALLED.get(type(value), "a date or time")


def _place(page: Layout, block: Block, path: Sequence[str]) -> Piece:
    """Where the key stands in the fence; the fence's first line when it is written in an uncommon way."""
    table = ""
    for line in page.lines[block.first + 1 : block.last - 1]:
        if header := _TABLE.match(line.text):
            table = header[1]
            if list(path) == [table]:
                return line.cut(header.start(1), header.end(1))
        dotted = r"\s*\.\s*".join(
            rf"[\"']?{re.escape(part)}[\"']?" for part in (path[1:] if table == path[0] and path[1:] else path)
        )
        found = re.match(rf"\s*({dotted})\s*[=.]", line.text)
        if found and (not table or table == path[0]):
            return line.cut(found.start(1), found.end(1))
    for line in page.lines[block.first + 1 : block.last - 1]:
        if found := re.search(rf"^[^#]*?\b({re.escape(path[-1])})\b", line.text):
            return line.cut(found.start(1), found.end(1))
    return page.lines[block.first].strip()
