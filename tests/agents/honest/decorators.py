# ruff: noqa
import functools


def twice(f):
    @functools.wraps(f)
    def g(*a):
        return f(f(*a))

    return g


@twice
def inc(x):
    return x + 1


assert inc(1) == 3 and inc.__name__ == "inc"
