"""Maps shared anonymous memory and touches it."""

# ruff: noqa
# class: filling
# wins: memory
# proof: larger:memory

import mmap

blocks = []
try:
    for _ in range(30):
        block = mmap.mmap(-1, 8 << 20)
        block.write(b"x" * (8 << 20))
        blocks.append(block)
        print("HELD", len(blocks) * (8 << 20), flush=True)
except (MemoryError, OSError):
    pass
