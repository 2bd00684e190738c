# ruff: noqa
import tempfile, os

with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as f:
    f.write("x")
assert open(f.name).read() == "x"
os.unlink(f.name)
