"""Makes empty files until something stops it."""

# ruff: noqa
# class: filling
# wins: count
# proof: larger:files

held = 0
try:
    for index in range(4000):
        open(f"n{index}", "w").close()
        held += 1
except OSError:
    pass
print("HELD", held)
