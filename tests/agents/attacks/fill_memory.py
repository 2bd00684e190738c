"""Takes memory until something stops it."""

# ruff: noqa
# class: filling
# wins: memory
# proof: larger:memory

blocks = []
try:
    for _ in range(30):
        blocks.append(bytearray(b"x" * (8 << 20)))
        print("HELD", len(blocks) * (8 << 20), flush=True)
except MemoryError:
    pass
