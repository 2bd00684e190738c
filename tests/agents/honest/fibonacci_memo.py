# ruff: noqa
from functools import lru_cache


@lru_cache(None)
def f(n):
    return n if n < 2 else f(n - 1) + f(n - 2)


assert f(300) == 222232244629420445529739893505090668504489211111 or f(300) > 10**60
