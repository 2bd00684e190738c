"""Units of metrics: what a threshold may be written in, and how a number is shown to people.

Every metric is stored in its base unit (`B`, `s`, `FLOP`, `bpb`, `x`, or none for a fraction or a count).
"""

from __future__ import annotations

import math
from decimal import Decimal

SCALES: dict[str, dict[str, float]] = {
    "B": {
        "B": 1, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
        "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    },
    "s": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600},
    "FLOP": {"FLOP": 1, "kFLOP": 1e3, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15},
    "bpb": {"bpb": 1},
    "x": {"x": 1, "×": 1, "%": 0.01},
    "": {"%": 0.01},
}  # fmt: skip
"""Base unit -> the units a threshold may be written in -> their size in the base unit."""

SHOWN = {
    "B": ("B", "KiB", "MiB", "GiB", "TiB"),
    "s": ("ns", "us", "ms", "s"),
    "FLOP": ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"),
}
"""Base unit -> the units a number is shown in, smallest first."""

KNOWN = {unit for scales in SCALES.values() for unit in scales}


def in_base(number: float, unit: str, base: str) -> float | None:
    """`number` of `unit` in the metric's `base` unit (meant already where no unit is written); None when they do not fit."""
    if unit in ("", base):
        return number
    scale = SCALES.get(base, {}).get(unit)
    return None if scale is None else float(Decimal(repr(number)) * Decimal(repr(scale)))


def writable(base: str) -> list[str]:
    """The units a threshold of a metric in `base` may be written in."""
    return list(SCALES.get(base, {base: 1.0}))


def show(value: float, unit: str = "") -> str:
    """`value`, given in base `unit`, for people: four significant digits in the unit that fits.

    >>> show(333447168, "B"), show(0.0214, "s"), show(0.981), show(1.1, "bpb")
    ('318 MiB', '21.4 ms', '0.981', '1.1 bpb')
    """
    if not math.isfinite(value):
        return f"{value} {unit}".rstrip()
    steps = SHOWN.get(unit)
    if steps is None:
        return f"{digits(value)} {unit}".rstrip()
    fits = 0 if value else steps.index(unit)
    while value and fits + 1 < len(steps) and abs(_round(value / SCALES[unit][steps[fits + 1]])) >= 1:
        fits += 1
    return f"{digits(value / SCALES[unit][steps[fits]])} {steps[fits]}"


def digits(value: float) -> str:
    """`value` with four significant digits (whole numbers below 1e15 in full), `_` between thousands."""
    if value == 0:
        return "0"
    whole = value == int(value)
    rounded = value if whole and abs(value) < 1e15 else _round(value)
    if not 1e-4 <= abs(rounded) < 1e15:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    places = 0 if whole else max(0, 3 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:_.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _round(value: float) -> float:
    return float(f"{value:.4g}")
