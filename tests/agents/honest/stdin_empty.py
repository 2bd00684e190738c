# ruff: noqa
import sys

assert sys.stdin.read() == ""
try:
    input()
except EOFError:
    pass
