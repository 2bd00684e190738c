# ruff: noqa
import itertools

assert len(list(itertools.permutations(range(6)))) == 720
