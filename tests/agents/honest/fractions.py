# ruff: noqa
from fractions import Fraction

assert sum(Fraction(1, n) for n in range(1, 11)) == Fraction(7381, 2520)
