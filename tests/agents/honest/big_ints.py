# ruff: noqa
x = 3**20000
assert x % 1000007 == pow(3, 20000, 1000007)
assert len(str(2**10000)) == 3011
