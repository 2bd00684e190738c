"""What of a file's text counts only where somebody asks for it: docstrings, line numbers, blocks for types, what stands on a shelf.

Code asks by names, which its syntax tree shows. Who asks by a name made at run time is not seen.
"""

from __future__ import annotations

import ast
import re

DOCS, TEXT, TYPES = "(docstrings)", "(text)", "(type-only)"
SHELF = "(shelf)"
ON_DEMAND = frozenset({DOCS, TEXT, TYPES, SHELF})
"""Symbols that count where code that is reached asks for them: by `__doc__`, by line numbers or sources, by setting `TYPE_CHECKING`; by
`__shelf__`, with which the decorators of all benchmarks on a function count."""

_READS_DOCS = re.compile("__doc__|getdoc|co_consts")
_READS_TEXT = re.compile("co_firstlineno|co_lines|co_lnotab|co_positions|f_lineno|tb_lineno|getsource|getcomments|findsource")
_TELLS_TEXT = frozenset({"linecache", "marshal", "pydoc"})
_LINES = frozenset({"lineno", "end_lineno"})
"""Of a frame, a warning or a traceback it is a line of what is measured; of a node of `ast`, one of a text that is read."""
_TELLS_LINES = frozenset({"inspect", "traceback", "warnings"})


def asked_by(nodes: list[ast.AST], prose: list[ast.Expr]) -> tuple[bool, frozenset[str]]:
    """Whether its code reads its own docstring, and what it may ask for of anybody's. Comments and `prose`, its docstrings, read nothing."""
    own, lines, asks, imported = False, False, set[str](), set[str]()
    silent = {id(statement.value) for statement in prose}
    for node in nodes:
        match node:
            case ast.Name(id="__doc__"):
                own = True
            case ast.Attribute(attr=word) | ast.Name(id=word) | ast.alias(name=word) | ast.Constant(value=str(word)):
                if id(node) in silent:
                    continue
                name = word.partition(".")[0] if not isinstance(node, ast.Constant) else ""
                asks |= {DOCS} if _READS_DOCS.search(word) else set()
                asks |= {TEXT} if _READS_TEXT.search(word) or name in _TELLS_TEXT else set()
                asks |= {SHELF} if word == "__shelf__" else set()
                lines |= word in _LINES
                imported |= {name} if isinstance(node, ast.alias) else set()
                set_here = isinstance(node, ast.Constant) or isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del))
                asks |= {TYPES} if word == "TYPE_CHECKING" and set_here else set()
            case ast.ImportFrom(module=str(word)):
                asks |= {TEXT} if word in _TELLS_TEXT else set()
                imported.add(word.partition(".")[0])
    if lines and ("ast" not in imported or imported & _TELLS_LINES):
        asks.add(TEXT)
    return own, frozenset(asks)
