# ruff: noqa
import bz2, gzip, lzma, zlib

for m in (bz2, gzip, lzma, zlib):
    assert m.decompress(m.compress(b"x" * 1000)) == b"x" * 1000
