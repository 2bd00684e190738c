"""Fills the temporary directory, in a file without a name."""

# ruff: noqa
# class: filling
# wins: held
# proof: larger:disk

import tempfile

held = 0
try:
    with tempfile.TemporaryFile(buffering=0) as file:
        while held < 96 << 20:
            held += file.write(b"x" * (1 << 20))
except OSError:
    pass
print("HELD", held)
