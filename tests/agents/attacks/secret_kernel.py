"""Reads the kernel's log and addresses."""

# ruff: noqa
# class: secrets
# wins: did
# proof: plain-root

import ctypes

room = ctypes.create_string_buffer(4096)
if ctypes.CDLL(None).klogctl(3, room, 4096) > 0:
    print("DID")
if any(line[0] not in "0 " for line in open("/proc/kallsyms")):
    print("DID")
