# ruff: noqa
import random

a = random.Random(0).sample(range(100), 5)
assert a == random.Random(0).sample(range(100), 5)
