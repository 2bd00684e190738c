"""What runs in the confined process: it loads the program, and lets a judge in another process call its functions.

Started as `python -I -c TEXT MODE DESCRIPTOR PATH` with this file's text, so it imports nothing of the house. Everything here
is at the program's mercy, which shares the process: nothing it says is believed, only weighed as data.
"""

from __future__ import annotations

import sys
from typing import Any


def encode(value: Any) -> Any:
    """`value` as JSON that keeps Python's plain types apart; TypeError for what is not data."""
    if value is None or isinstance(value, bool | str):
        return value if value is None or type(value) in (bool, str) else str.__str__(value)
    for kind, tag, write in _WRITERS:
        if isinstance(value, kind):
            return {tag: write(value)}
    if isinstance(value, list):
        return [encode(item) for item in value]
    raise TypeError(f"`{type(value).__name__}` is not data")


_WRITERS: tuple[tuple[Any, str, Any], ...] = (
    (int, "int", lambda v: hex(v)),
    (float, "float", lambda v: float.hex(v)),
    (complex, "complex", lambda v: [v.real.hex(), v.imag.hex()]),
    (bytes | bytearray, "bytes", lambda v: bytes(v).hex()),
    (tuple, "tuple", lambda v: [encode(item) for item in v]),
    (set, "set", lambda v: [encode(item) for item in v]),
    (frozenset, "frozenset", lambda v: [encode(item) for item in v]),
    (dict, "dict", lambda v: [[encode(key), encode(item)] for key, item in v.items()]),
)


def decode(data: Any) -> Any:
    """What `encode` wrote, made of plain built-in types only; ValueError or TypeError for anything else."""
    if data is None or isinstance(data, bool | str):
        return data
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict) or len(data) != 1:
        raise ValueError("not an encoded value")
    ((tag, body),) = data.items()
    match tag:
        case "int":
            return int(body, 16)
        case "float":
            return float.fromhex(body)
        case "complex":
            return complex(float.fromhex(body[0]), float.fromhex(body[1]))
        case "bytes":
            return bytes.fromhex(body)
        case "tuple":
            return tuple(decode(item) for item in body)
        case "set":
            return {decode(item) for item in body}
        case "frozenset":
            return frozenset(decode(item) for item in body)
        case "dict":
            return {decode(key): decode(item) for key, item in body}
    raise ValueError(f"unknown tag `{tag}`")


def _load(path: str, name: str) -> Any:
    import types

    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    sys.argv = [path]
    with open(path, encoding="utf-8") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    return code, module.__dict__


def run(channel: int, path: str) -> int:
    """Run the file as `__main__`; at its end, and only then, hand back what waits in `channel`. Its exit code.

    `sys.exit(0)` is an end where the module itself or `unittest.main` says it, not from inside a function: that is how a
    function under test leaves before its tests are reached.
    """
    import os

    framework = os.path.join(os.path.dirname(os.__file__), "unittest", "main.py")
    write, read, hook = os.write, os.read, sys.excepthook
    try:
        code, namespace = _load(path, "__main__")
        exec(code, namespace)
    except SystemExit as error:
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        where = trace.tb_frame.f_code if trace else None
        ended = where and (where.co_filename == framework or (where.co_filename, where.co_name) == (path, "<module>"))
        if not ended or error.code not in (None, 0, False):
            raise
        write(channel, read(channel, 64))
    except BaseException as error:
        hook(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        return 1
    else:
        write(channel, read(channel, 64))
    return 0


def serve(channel: int, path: str) -> int:
    """Load the file, tell its public names, then answer calls until the other side hangs up."""
    import json
    import os
    import struct

    def send(**reply: Any) -> None:
        body = json.dumps(reply).encode()
        view = memoryview(struct.pack("=I", len(body)) + body)
        while view:
            view = view[os.write(channel, view) :]

    def receive(length: int) -> bytes:
        parts = b""
        while len(parts) < length:
            part = os.read(channel, length - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts

    def told(error: BaseException) -> dict[str, Any]:
        return {"error": [base.__name__ for base in type(error).__mro__], "text": str(error)}

    try:
        code, namespace = _load(path, "candidate")
        exec(code, namespace)
    except BaseException as error:
        send(**told(error))
        raise
    data = {}
    for name, value in list(namespace.items()):
        if not name.startswith("__") and not callable(value):
            try:
                data[name] = encode(value)
            except (TypeError, RecursionError):
                continue
    send(functions=[name for name, value in namespace.items() if callable(value)], data=data)
    while True:
        try:
            (length,) = struct.unpack("=I", receive(4))
            request = json.loads(receive(length))
        except EOFError:
            return 0
        try:
            arguments = [decode(item) for item in request["arguments"]]
            named = {name: decode(item) for name, item in request["named"].items()}
            reply = {"value": encode(namespace[request["call"]](*arguments, **named))}
        except BaseException as error:
            reply = told(error)
        send(**reply)


if __name__ == "__main__" and len(sys.argv) == 4:
    raise SystemExit({"run": run, "serve": serve}[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
