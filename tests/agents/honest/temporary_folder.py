# ruff: noqa
import tempfile, pathlib

with tempfile.TemporaryDirectory() as d:
    p = pathlib.Path(d, "a", "b")
    p.mkdir(parents=True)
    (p / "c").write_text("x")
    assert list(pathlib.Path(d).rglob("c"))
