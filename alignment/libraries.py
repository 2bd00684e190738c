"""What the standard library, numpy and torch say of a name in a text: the words of their docstrings, looked up in a table of things made beforehand.

A text never makes this process import or run anything. The modules it may lead into are listed here and imported together, whatever a text says;
from there a name is followed through dictionaries alone, never by attribute access, which a module or an object may answer with code of its own.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

from plan.house import PACKAGES

STANDARD = """
    abc argparse array ast asyncio atexit base64 binascii bisect builtins bz2 calendar cmath code codecs collections.abc concurrent.futures
    configparser contextlib contextvars copy copyreg csv ctypes dataclasses datetime dbm decimal difflib dis doctest email enum errno
    faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc getpass gettext glob grp gzip hashlib heapq hmac html
    http.client http.cookies http.server imaplib importlib.abc importlib.machinery importlib.metadata importlib.resources importlib.util inspect
    io ipaddress itertools json keyword linecache locale logging.handlers lzma mailbox marshal math mimetypes mmap
    multiprocessing.connection multiprocessing.managers multiprocessing.pool multiprocessing.shared_memory netrc ntpath numbers opcode operator
    optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile
    queue quopri random re reprlib resource runpy sched secrets select selectors shelve shlex shutil signal site smtplib socket socketserver
    sqlite3 ssl stat statistics string stringprep struct subprocess symtable sys sysconfig syslog tarfile tempfile termios textwrap
    threading time timeit token tokenize tomllib trace traceback tracemalloc tty types typing unicodedata unittest.mock urllib.error
    urllib.parse urllib.request uuid venv warnings wave weakref webbrowser xml.dom.minidom xml.etree.ElementTree xmlrpc.client
    xmlrpc.server zipapp zipfile zipimport zlib zoneinfo
"""
"""Modules of the standard library whose import does nothing but define; what a platform lacks is left out."""
OTHERS = """
    numpy.ctypeslib numpy.fft numpy.lib numpy.linalg numpy.random numpy.testing torch.autograd torch.backends.cudnn torch.cuda
    torch.distributed torch.distributions torch.fft torch.func torch.fx torch.hub torch.jit torch.library torch.linalg torch.multiprocessing
    torch.nn.functional torch.nn.init torch.nn.parallel torch.nn.utils torch.optim.lr_scheduler torch.overrides torch.package torch.profiler
    torch.random torch.serialization torch.sparse torch.special torch.testing torch.utils.data torch.utils.hooks
"""
_PLACES = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_SIGNATURE = re.compile(r"^[\w.]+\(.*")
_DULL = (
    "the and for with that this from into are its not can but all any one has have been which will may when used use using based given "
    "see also than then they such other each only more new same both does like returns return value values object objects function "
    "functions method methods class classes module modules provides type types python none true false default called call argument "
    "arguments parameter parameters list number element elements alias input output applies apply computes compute tensor tensors"
)
_ENDING = re.compile(r"(?:ing|ies|ed|es|(?<!s)s|e|y)$")


@lru_cache(maxsize=20_000)
def of_library(dotted: str) -> frozenset[str]:
    """Marks of a name that leads into a library or is built in: which, and what it says of itself; nothing for any other name."""
    top, _, rest = dotted.partition(".")
    if not rest and top in vars(builtins):
        return frozenset(f"doc {word}" for word in _told(vars(builtins)[top]))
    standard = top in sys.stdlib_module_names
    words = {word for thing in _along(dotted) for word in _told(thing)}
    return frozenset({f"doc {word}" for word in words} | ({f"library {top}"} if standard else set()))


def _along(dotted: str) -> Iterator[Any]:
    """The library, and each thing on the way to the name, as far as there is one; of numpy and torch, only what is no module."""
    top, *rest = dotted.split(".")
    thing: Any = listed().get(top)
    if thing is not None and top in sys.stdlib_module_names:
        yield thing
    for name in rest:
        thing = _member(thing, name)
        if thing is None:
            return
        if not (isinstance(thing, ModuleType) and top in ("numpy", "torch")):
            yield thing


def _member(thing: Any, name: str) -> Any:
    """What a listed module, a class or a thing's class holds under a name, from their dictionaries."""
    if isinstance(thing, ModuleType):
        found = vars(thing).get(name)
        return None if isinstance(found, ModuleType) and found not in listed().values() else found
    holders = type.mro(thing if isinstance(thing, type) else type(thing))
    found = next((vars(holder)[name] for holder in holders if name in vars(holder)), None)
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


@cache
def listed() -> Mapping[str, ModuleType]:
    """The modules that names are followed into, and the packages they lie in, by their names: all imported when this is first asked."""
    found: dict[str, ModuleType] = {}
    for path in f"{STANDARD} {OTHERS}".split():
        top = path.partition(".")[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if top in sys.stdlib_module_names and not _is_standard(top):
                    continue
                importlib.import_module(path)
            except Exception:  # a part of a library that this machine does not have, or cannot load, says nothing of itself
                continue
        parts = path.split(".")
        found |= {name: sys.modules[name] for n in range(len(parts)) if (name := ".".join(parts[: n + 1])) in sys.modules}
    return found


def _is_standard(top: str) -> bool:
    """Whether a name leads to the standard library's own: no file elsewhere hides it."""
    spec = importlib.util.find_spec(top)
    return spec is not None and not (spec.has_location and not str(spec.origin).startswith(_PLACES))


def _told(thing: Any) -> set[str]:
    """Words of the first sentence of what a library's function, class or module says of itself; of this house's, put in a library's place, none.

    Keys of runs rest on that: `bench/fingerprint.py` counts no docstring of the house because of this file.
    """
    if not (callable(thing) or isinstance(thing, ModuleType)):
        return set()
    text, home = getattr(thing, "__doc__", None), getattr(thing, "__module__", None)
    if not isinstance(text, str) or str(home).partition(".")[0] in PACKAGES:
        return set()
    lines = [line.strip() for line in text.strip().splitlines()]
    lines = [line for line in lines if line and not _SIGNATURE.match(line)]
    first = " ".join(lines[:3]).partition(". ")[0]
    words, dull = (word.lower() for word in re.findall(r"[A-Za-z]{3,}", first)), frozenset(_DULL.split())
    return {_ENDING.sub("", word) if len(word) > 3 else word for word in words if word not in dull}
