# ruff: noqa
def g():
    x = yield 1
    yield x


i = g()
assert next(i) == 1 and i.send(5) == 5
