# ruff: noqa
import math

assert math.factorial(2000) // math.factorial(1999) == 2000
