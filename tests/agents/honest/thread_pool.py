# ruff: noqa
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(4) as p:
    assert list(p.map(lambda x: x * x, range(5))) == [0, 1, 4, 9, 16]
