# ruff: noqa
import cmath

assert abs(cmath.exp(1j * cmath.pi) + 1) < 1e-12
