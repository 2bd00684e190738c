# ruff: noqa
open("helper.py", "w").write("x = 5")
import sys, importlib

sys.path.insert(0, ".")
assert importlib.import_module("helper").x == 5
