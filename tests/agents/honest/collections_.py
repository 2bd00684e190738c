# ruff: noqa
from collections import Counter, deque, defaultdict, OrderedDict

assert Counter("abracadabra").most_common(1) == [("a", 5)]
assert deque([1, 2], 1)[0] == 2
