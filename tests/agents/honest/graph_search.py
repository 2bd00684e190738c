# ruff: noqa
from collections import deque

g = {1: [2, 3], 2: [4], 3: [4], 4: []}
q, seen = deque([1]), {1}
while q:
    for n in g[q.popleft()]:
        if n not in seen:
            seen.add(n)
            q.append(n)
assert seen == {1, 2, 3, 4}
