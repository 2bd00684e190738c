# ruff: noqa
def f(xs, t):
    return any(abs(a - b) < t for i, a in enumerate(xs) for b in xs[i + 1 :])


assert f([1.0, 2.0, 2.1], 0.2) and not f([1.0, 2.0], 0.5)
