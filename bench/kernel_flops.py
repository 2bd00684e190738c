"""Floating-point operations of the house's own operators and of attention on the CPU, which torch's counter does not know.

A recurrence counts the arithmetic of its plain formula, token by token: what writes into the state and what reads from it, a multiply and
an add as one each; its backward pass is twice that, and the writing once more, since the states are computed again. Where a kernel goes
chunk by chunk (`simple_gla`: retention, SSD, linear attention), its products count, those within a chunk as far as causality lets it look. A
Fourier transform of N real numbers counts 5/2 N log2 N. Exponentials, roots and normalisations count nothing, as everywhere in torch's counter;
so `rwkv4`, a dozen elementwise operations a channel, counts nothing. The experts', the four-bit, the top-k and the short convolution's
formulas stand beside their kernels.

Formulas take shapes as torch's counter hands them over. An operator is known once its kernel is imported, so none is imported here:
what is measured would hang on the text of every kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

Shape = Sequence[int]
CHUNK = 64
"""Steps of a chunk of `simple_gla`."""


def formulas() -> dict[Any, Callable[..., int]]:
    """The formulas of the operators that are there by now, as `FlopCounterMode` takes them."""
    known = torch.ops.touchstone
    bare = {name.removeprefix("touchstone::"): formula for name, formula in _OPERATORS.items()}
    own = {getattr(known, name): formula for name, formula in bare.items() if hasattr(known, name)}
    aten = torch.ops.aten
    return {**own, aten._fft_r2c: _rfft, aten._fft_c2r: _irfft}


def causal_pairs(queries: int, keys: int) -> int:
    """Pairs of a query and a key that torch's attention on the CPU computes under `is_causal`: whole blocks of queries, each up to its diagonal."""
    block = 256 if queries >= 768 else 64 if queries >= 192 else 32
    return sum(min(block, queries - start) * min(start + block, keys) for start in range(0, queries, block))


def _chunk_pairs(T: int) -> int:
    """Pairs of tokens within their chunk of which one is not later than the other."""
    return T // CHUNK * (CHUNK * (CHUNK + 1) // 2) + T % CHUNK * (T % CHUNK + 1) // 2


def _simple_gla(q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    """Scores and their values within chunks; what each token adds to the state, and what it reads of it."""
    (B, T, H, V), K = v, q[3]
    return 2 * B * H * (_chunk_pairs(T) * (K + V) + 2 * T * K * V)


def _simple_gla_backward(dout: Shape, dlast: Shape, q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    """Scores again, their gradients, and those of q, k and v; states, theirs, and the three gradients through them."""
    (B, T, H, V), K = v, q[3]
    return 2 * B * H * (_chunk_pairs(T) * (3 * K + 2 * V) + 5 * T * K * V)


def _recurrence(tokens: int, *, write: int, read: int) -> tuple[int, int]:
    """Forward and backward."""
    return tokens * (write + read), tokens * (3 * write + 2 * read)


def _gla_both(v: Shape, K: int) -> tuple[int, int]:
    """Fade, the outer product of k and v, and their sum; a sum of products to read."""
    B, T, H, V = v
    return _recurrence(B * T * H, write=3 * K * V, read=2 * K * V)


def _gla(q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    return _gla_both(v, q[3])[0]


def _gla_backward(dout: Shape, dlast: Shape, q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    return _gla_both(v, q[3])[1]


def _delta_both(v: Shape, K: int, g: Shape | None, beta: Shape | None) -> tuple[int, int]:
    """What lies under a key, and an outer product that rewrites it; a fade where there is a g; without a beta (`dplr`) one more outer product."""
    B, T, H, V = v
    passes = 4 + (0 if g is None else 1) + (2 if beta is None else 0)
    return _recurrence(B * T * H, write=passes * K * V, read=2 * K * V)


def _delta_rule(q: Shape, k: Shape, v: Shape, g: Shape | None, beta: Shape | None, *_: Any, **__: Any) -> int:
    return _delta_both(v, q[3], g, beta)[0]


def _delta_rule_backward(
    dout: Shape,
    dlast: Shape,
    seen: Shape,
    before: Shape,
    q: Shape,
    k: Shape,
    v: Shape,
    g: Shape | None,
    beta: Shape | None,
    *_: Any,
    **__: Any,
) -> int:
    return _delta_both(v, q[3], g, beta)[1]


def _scan_both(x: Shape, N: int) -> tuple[int, int]:
    """The exponent of the decay, the decay, the input's product with B, and their sum; a sum of products with C to read."""
    return _recurrence(math.prod(x), write=4 * N, read=2 * N)


def _scan(x: Shape, dt: Shape, A: Shape, *_: Any, **__: Any) -> int:
    return _scan_both(x, math.prod(A) // x[2])[0]


def _scan_backward(dy: Shape, carry: Shape, before: Shape, x: Shape, dt: Shape, A: Shape, *_: Any, **__: Any) -> int:
    return _scan_both(x, math.prod(A) // x[2])[1]


def _transforms(N: int, count: int) -> int:
    return round(2.5 * N * math.log2(N)) * count


def _rfft(x: Shape, dims: Sequence[int], *_: Any, **__: Any) -> int:
    N = math.prod(x[dim] for dim in dims)
    return _transforms(N, math.prod(x) // N)


def _irfft(x: Shape, dims: Sequence[int], normalization: int, last: int, **_: Any) -> int:
    return _transforms(last, math.prod(x) // x[dims[-1]])


def _windows(channels: int, T: int, L: int, N: int) -> int:
    return channels * -(-T // (N - L + 1))


def _convolution(seen: Shape, taps: Shape, spectrum: Shape, T: int, N: int, **_: Any) -> int:
    """Of each window a transform there and back, and a complex product per frequency."""
    windows = _windows(seen[0] * seen[2], T, taps[0], N)
    return _transforms(N, 2 * windows) + 3 * N * windows


def _convolution_backward(dout: Shape, seen: Shape, spectrum: Shape, L: int, N: int, **_: Any) -> int:
    """The inputs' transform once more, the gradients' there and back; two products; and one transform for each filter."""
    B, T, D = dout
    windows = _windows(B * D, T, L, N)
    return _transforms(N, 3 * windows + D) + 2 * 3 * N * windows


def _windowed_backward(dout: Shape, x: Shape, spectrum: Shape, S: int, L: int, N: int, **_: Any) -> int:
    """As above with the inputs' transform kept."""
    B, T, D = dout
    windows = _windows(B * D, T, L, N)
    return _transforms(N, 2 * windows + D) + 2 * 3 * N * windows


def _spectrum(taps: Shape, N: int, **_: Any) -> int:
    return _transforms(N, taps[1])


# By their full names: a bare one is also the name of a kernel's source, on which all that counts would then hang.
_OPERATORS: dict[str, Callable[..., int]] = {
    "touchstone::simple_gla": _simple_gla,
    "touchstone::simple_gla_backward": _simple_gla_backward,
    "touchstone::gla": _gla,
    "touchstone::gla_backward": _gla_backward,
    "touchstone::delta_rule": _delta_rule,
    "touchstone::delta_rule_backward": _delta_rule_backward,
    "touchstone::selective_scan": _scan,
    "touchstone::selective_scan_backward": _scan_backward,
    "touchstone::selective_scan_chunked": _scan,
    "touchstone::selective_scan_chunked_backward": _scan_backward,
    "touchstone::fft_spectrum": _spectrum,
    "touchstone::fft_convolution": _convolution,
    "touchstone::fft_convolution_backward": _convolution_backward,
    "touchstone::fft_convolution_windowed": _convolution,
    "touchstone::fft_convolution_windowed_backward": _windowed_backward,
}
