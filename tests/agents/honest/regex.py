# ruff: noqa
import re

assert re.findall(r"(\w+)@(\w+)\.com", "a@b.com, c@d.com") == [("a", "b"), ("c", "d")]
