# ruff: noqa
x = [0] * (5 * 10**6)
y = bytearray(50 * 10**6)
assert len(x) + len(y) == 55 * 10**6
