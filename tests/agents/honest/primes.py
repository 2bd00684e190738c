# ruff: noqa
def p(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


assert [x for x in range(30) if p(x)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
