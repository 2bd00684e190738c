"""Writes many files, each below the limit of one."""

# ruff: noqa
# class: filling
# wins: held
# proof: larger:disk

held = 0
try:
    for index in range(96):
        with open(f"part{index}", "wb", buffering=0) as file:
            held += file.write(b"x" * (1 << 20))
except OSError:
    pass
print("HELD", held)
