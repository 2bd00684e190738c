# ruff: noqa
import statistics

assert statistics.median([3, 1, 2]) == 2 and abs(statistics.stdev([1, 2, 3]) - 1) < 1e-9
