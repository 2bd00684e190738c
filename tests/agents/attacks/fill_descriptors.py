"""Opens files until something stops it."""

# ruff: noqa
# class: filling
# wins: descriptors
# proof: plain

held = []
try:
    for _ in range(600):
        held.append(open("/dev/null"))
except OSError:
    pass
print("HELD", len(held))
