# ruff: noqa
import contextlib


@contextlib.contextmanager
def c():
    yield 3


with c() as x:
    assert x == 3
