"""Every kernel at sizes that models have and the contract's small blocks do not: wide keys, many documents, long filters, long caches.

What is wrong only beyond 64 keys a head, the fourth document, 4,096 taps or 8,192 keys is seen nowhere else.
"""

from __future__ import annotations

from functools import partial

import pytest
import test_delta_rule
import test_fft_convolution
import test_gla
import test_scan
import test_simple_gla
import test_topk_attention_kernel
import torch

from kernels import native
from kernels.agreement import assert_agrees, outputs_and_gradients
from kernels.fft_convolution import fft_convolution
from kernels.paths import Path
from kernels.scan import selective_scan
from kernels.topk_attention import topk_attention_loop, topk_sparse_attention

compiled = pytest.param("compiled", marks=pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"))
everywhere = pytest.mark.parametrize("path", ["torch", compiled])
wide = pytest.mark.parametrize(("K", "V"), [(128, 128), (80, 200), (200, 80)])


@everywhere
@wide
def test_gated_linear_attention_with_wide_keys(path: Path, K: int, V: int) -> None:
    test_gla.hold(test_gla.inputs(70, H=2, K=K, V=V, bonus=True), path, scale=0.1)


@everywhere
@wide
def test_scalar_decay_with_wide_keys(path: Path, K: int, V: int) -> None:
    test_simple_gla.hold(test_simple_gla.inputs(70, H=2, G=1, K=K, V=V), path, scale=0.1)


@everywhere
@wide
@pytest.mark.parametrize("kind", test_delta_rule.KINDS)
def test_the_delta_rules_with_wide_keys(path: Path, kind: str, K: int, V: int) -> None:
    test_delta_rule.hold(kind, path, test_delta_rule.inputs(kind, 70, H=2, K=K, V=V), scale=0.1)


@everywhere
def test_every_recurrence_on_a_batch_of_nine(path: Path) -> None:
    test_gla.hold(test_gla.inputs(40, B=9, H=1, K=8, V=8), path)
    test_simple_gla.hold(test_simple_gla.inputs(40, B=9, H=2, G=1, K=8, V=8), path)
    for kind in test_delta_rule.KINDS:
        test_delta_rule.hold(kind, path, test_delta_rule.inputs(kind, 40, B=9, H=1, K=8, V=8))
    test_scan.compared(partial(selective_scan, path=path), test_scan.inputs(40, B=9))


@everywhere
def test_a_filter_of_eight_thousand_taps(path: Path) -> None:
    inputs = test_fft_convolution.pieces(9000, L=8192, D=2, B=1)
    found = outputs_and_gradients(partial(fft_convolution, path=path), inputs)
    assert_agrees(found, outputs_and_gradients(test_fft_convolution.plain, inputs, dtype=torch.float64), within=1e-4)


@everywhere
@pytest.mark.parametrize("T", [1, 9])
def test_the_best_of_sixteen_thousand_keys(path: Path, T: int) -> None:
    given = test_topk_attention_kernel.drawn(1, 2, 1, T, 16_500)
    expected = outputs_and_gradients(lambda **x: topk_attention_loop(**x, k_top=64), given, dtype=torch.float64)
    found = outputs_and_gradients(lambda **x: topk_sparse_attention(**x, k_top=64, path=path), given)
    assert_agrees(found, expected, within=1e-5)
