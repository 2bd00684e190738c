# ruff: noqa
import os

assert len(os.urandom(64)) == 64 and os.getrandom(8)
