"""Takes a mount away to see what is below."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp,landlock

import ctypes

if ctypes.CDLL(None).umount2(b"/dev/full", 2) == 0:
    print("DID")
