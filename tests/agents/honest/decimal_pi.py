# ruff: noqa
from decimal import Decimal, getcontext

getcontext().prec = 50
assert str(Decimal(2).sqrt())[:12] == "1.4142135623"
