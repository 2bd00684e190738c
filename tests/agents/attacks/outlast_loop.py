"""Loops, deaf to every signal."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain

import signal

for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    pass
