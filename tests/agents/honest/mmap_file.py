# ruff: noqa
import mmap

open("m", "wb").write(b"abcd")
with open("m", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    m[0:1] = b"z"
assert open("m").read() == "zbcd"
