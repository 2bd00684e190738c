# ruff: noqa
open("/tmp/x.txt", "w").write("1")
assert open("/tmp/x.txt").read() == "1"
