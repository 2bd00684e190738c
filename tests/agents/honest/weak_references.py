# ruff: noqa
import weakref, gc


class A:
    pass


a = A()
r = weakref.ref(a)
del a
gc.collect()
assert r() is None
