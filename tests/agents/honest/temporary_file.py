# ruff: noqa
import tempfile

with tempfile.TemporaryFile() as f:
    f.write(b"hi")
    f.seek(0)
    assert f.read() == b"hi"
