# ruff: noqa
import json

d = {"a": [1, 2.5, None, True], "ü": "ß"}
assert json.loads(json.dumps(d)) == d
