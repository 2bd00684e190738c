# ruff: noqa
def f():
    return f()


try:
    f()
except RecursionError:
    pass
else:
    raise AssertionError
