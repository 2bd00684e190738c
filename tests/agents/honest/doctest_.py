# ruff: noqa
import doctest, sys


def f(x):
    """
    >>> f(2)
    4
    """
    return x * 2


assert doctest.testmod(sys.modules["__main__"]).failed == 0
