# ruff: noqa
import enum


class C(enum.IntEnum):
    A = 1


assert C.A == 1 and C(1).name == "A"
