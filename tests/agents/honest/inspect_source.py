# ruff: noqa
import inspect


def f():
    return 1


assert "return 1" in inspect.getsource(f)
