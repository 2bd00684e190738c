"""Makes the read-only root writable again."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp,landlock

import ctypes

if ctypes.CDLL(None).mount(b"", b"/", b"", 32 | 4096, None) == 0:
    print("DID")
