"""Writes one file until something stops it."""

# ruff: noqa
# class: filling
# wins: held
# proof: larger:disk

held = 0
try:
    with open("big", "wb", buffering=0) as file:
        while held < 96 << 20:
            held += file.write(b"x" * (1 << 20))
except OSError:
    pass
print("HELD", held)
