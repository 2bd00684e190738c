"""Watches other processes with the kernel's profiler, or loads a program into the kernel."""

# ruff: noqa
# class: ptrace
# wins: did
# proof: none:perf_event_open is closed on many machines

import ctypes

libc = ctypes.CDLL(None)
room = ctypes.create_string_buffer(128)
room[4] = 112
if libc.syscall(298, room, SCENE["victim"], -1, -1, 0) >= 0 or libc.syscall(321, 0, room, 72) >= 0:
    print("DID")
