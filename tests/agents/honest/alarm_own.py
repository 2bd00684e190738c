# ruff: noqa
import signal, time


class T(Exception):
    pass


def h(*a):
    raise T


signal.signal(signal.SIGALRM, h)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    time.sleep(2)
except T:
    pass
else:
    raise AssertionError
