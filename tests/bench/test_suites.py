"""The benchmarks on text, speed, memory and FLOPs, checked against closed formulas and run end to end at tiny sizes."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import data, pairs
from bench.dense import counterpart, of_equal_size
from bench.flops import count_flops, training_flops
from bench.request import Bench
from bench.subject import TermsError, subject
from bench.suites import kernel_speed
from bench.suites.bytes import bits_per_byte
from bench.suites.memory_growth import footprint, peak_bytes, slope
from modules.checkpoint import MAGIC
from modules.decoder import Decoder, DecoderConfig
from plan import catalogue
from plan.nouns import Request

TINY = {"d_model": 16, "heads": 2, "recipe": {"batch": 2, "length": 32}}


def bench_for(benchmark: str, folder: Path, **asked: Any) -> Bench:
    asked = {"module": "transformer", "seed": 0, "config": TINY, "steps": 3, **asked}
    return Bench(request=Request(benchmark=benchmark, **asked), folder=folder)


def measure(bench: Bench) -> dict[str, float]:
    return catalogue.load("benchmark", bench.request.benchmark)(bench)


@pytest.fixture
def text(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), size=5)) for _ in range(300)]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(rng.choice(words, size=8)) for _ in range(6000)))
    return str(path)


class Fixed(nn.Module):
    """Gives every byte the same distribution, whatever came before."""

    def __init__(self, probability_V: Tensor) -> None:
        super().__init__()
        self.logits_V = probability_V.log()

    def forward(self, tokens_BT: Tensor) -> tuple[Tensor, None]:
        return self.logits_V.expand(*tokens_BT.shape, 256), None


def test_a_uniform_predictor_needs_exactly_eight_bits_per_byte() -> None:
    windows = torch.randint(256, (10, 65), generator=torch.Generator().manual_seed(0))
    assert bits_per_byte(Fixed(torch.full((256,), 1 / 256)), windows, batch=3) == pytest.approx(8.0, abs=1e-6)


def test_a_predictor_that_knows_the_frequencies_needs_their_entropy() -> None:
    rng = np.random.default_rng(0)
    frequency = rng.dirichlet(np.full(256, 0.1)) + 1e-6
    frequency /= frequency.sum()
    windows = torch.from_numpy(rng.choice(256, p=frequency, size=(200, 101)))
    counts = np.bincount(windows[:, 1:].reshape(-1).numpy(), minlength=256)
    by_hand = -(counts * np.log2(frequency)).sum() / counts.sum()
    assert bits_per_byte(Fixed(torch.from_numpy(frequency)), windows, batch=64) == pytest.approx(by_hand, rel=1e-6)


def test_counted_flops_of_dense_layers_equal_the_closed_formula() -> None:
    n, a, b, c = 7, 24, 40, 8
    model = nn.Sequential(nn.Linear(a, b), nn.GELU(), nn.Linear(b, c))
    x = torch.randn(n, a)
    forward, training = training_flops(lambda: model(x).sum())
    assert forward == 2 * n * (a * b + b * c)
    assert training == 2 * n * (2 * a * b + 3 * b * c)


def test_attention_on_the_cpu_counts_as_much_as_its_plain_form() -> None:
    q, k, v = (torch.randn(2, 3, 50, 16, requires_grad=True) for _ in range(3))
    fused = count_flops(lambda: nn.functional.scaled_dot_product_attention(q, k, v))
    plain = count_flops(lambda: (q @ k.transpose(-1, -2)).softmax(-1) @ v)
    assert fused == plain == 2 * 2 * 2 * 3 * 50 * 50 * 16
    forward, training = training_flops(lambda: nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum())
    assert training == forward + 5 * forward // 2


def test_bytes_are_scored_end_to_end_and_again_from_the_checkpoint(text: str, tmp_path: Path) -> None:
    bench = bench_for("bytes-path-v1", tmp_path, data=text, steps=30)
    numbers = measure(bench)
    assert set(numbers) == set(catalogue.shelf("benchmark")["bytes-path-v1"].arguments["metrics"])
    assert 3.0 < numbers["val_bpb"] < 7.5
    assert bench.facts["data_digest"] == data.digest(text)
    assert 0 < bench.facts["lzma_bpb"] < 8
    curve = bench.series["train_bpb"]
    assert curve[0][1] == pytest.approx(8.0, abs=0.5)
    assert numbers["train_bpb"] == pytest.approx(sum(y for _, y in curve[-3:]) / 3)
    d, layers, T = 16, 2, 32
    matrices = layers * 12 * d * d + 256 * d
    assert numbers["active_flops"] == 2 * matrices + layers * 4 * T * d
    assert numbers["state_bytes"] == layers * (2 * 256 * d * 4 + 8)  # keys and values of a window of 256, and the count of tokens
    again = bench_for("bytes-path-v1", tmp_path, data=text, steps=30)
    assert measure(again) == numbers
    assert again.facts["resumed_at"] == 30


def test_the_numbers_a_module_declares_are_measured_with_the_bytes(text: str, tmp_path: Path) -> None:
    config = {**TINY, "experts": 4}
    numbers = measure(bench_for("bytes-path-v1", tmp_path, module="moe", data=text, config=config))
    assert numbers["drop_rate"] == 0.0
    assert 0.25 <= numbers["expert_utilization"] <= 1.0
    assert set(catalogue.shelf("module")["moe"].arguments["metrics"]) <= set(numbers)


def test_the_drop_rate_is_that_of_training_and_survives_a_resume(text: str, tmp_path: Path) -> None:
    config = {**TINY, "experts": 4, "top_k": 1, "capacity": 0.1}
    bench = bench_for("bytes-path-v1", tmp_path, module="moe", data=text, config=config, steps=4)
    rate = measure(bench)["drop_rate"]
    tokens = 2 * 32
    kept = math.ceil(0.1 * tokens / 4)
    assert 1 - 4 * kept / tokens <= rate <= 1 - kept / tokens
    assert rate == pytest.approx(sum(y for _, y in bench.series["drop_rate"]) / 4)
    again = bench_for("bytes-path-v1", tmp_path, module="moe", data=text, config=config, steps=4)
    assert measure(again)["drop_rate"] == rate
    assert again.facts["resumed_at"] == 4


def test_the_gradient_norm_is_the_largest_of_the_whole_training_its_warm_up_included(text: str, tmp_path: Path) -> None:
    config = {**TINY, "recipe": {"batch": 2, "length": 32, "warmup": 3}}
    bench = bench_for("bytes-path-v1", tmp_path, data=text, config=config, steps=4)
    numbers = measure(bench)
    norms = checkpoint_log(tmp_path / "training.pt")["gradient_norm"]
    assert [norm for _, norm in bench.series["gradient_norm"]] == norms
    assert numbers["gradient_norm"] == max(norms) == norms[0]  # a fresh model is steepest, while the rate is still low


def checkpoint_log(path: Path) -> dict[str, Any]:
    """The training's log as it stands in the checkpoint's file, behind its mark and SHA-256."""
    payload = path.read_bytes()[len(MAGIC) + 32 :]
    log: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)["body"]["log"]
    return log


def test_a_benchmark_says_which_text_it_reads(text: str, tmp_path: Path) -> None:
    with pytest.raises(TermsError, match=r"`bytes-stdlib-v1` reads `bytes-stdlib`.*use the benchmark `bytes-path-v1`"):
        measure(bench_for("bytes-stdlib-v1", tmp_path, data=text))
    with pytest.raises(TermsError, match="names as its `data`; name one"):
        measure(bench_for("bytes-path-v1", tmp_path))


@pytest.mark.parametrize(("table", "key", "value"), [("decoder", "vocabulary", 32), ("recipe", "length", 128)])
def test_what_a_benchmark_fixes_cannot_be_changed_by_a_task(table: str, key: str, value: int, tmp_path: Path) -> None:
    bench = bench_for("mqar-64x4-v64-v1", tmp_path, module="attention", config={"d_model": 16, table: {key: value}})
    with pytest.raises(TermsError, match=rf"`\[{table}\]` {key} = {value}: the benchmark fixes it to 64"):
        measure(bench)


def test_a_ratio_is_the_first_s_time_over_the_second_s_in_alternating_order(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []

    def work(name: str, seconds: float) -> pairs.Work:
        def run() -> None:
            order.append(name)
            now[0] += seconds * (1 + 0.01 * len(order))

        return run

    monkeypatch.setattr(pairs.time, "process_time", lambda: now[0])
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: now[0])
    measured = pairs.speedup(work("slow", 3.0), work("fast", 1.0), pairs=8)
    assert "".join(name[0] for name in order) == "sf" + "sffs" * 4
    assert measured.ratio == pytest.approx(3.0, rel=0.01)
    assert measured.low <= measured.ratio <= measured.high
    assert len(measured.pairs) == 8


def test_the_bootstrap_interval_covers_the_true_median_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        noise = rng.lognormal(0.0, 0.2, size=(21, 2))
        _, low, high = pairs.median_ratio([(2.0 * a, b) for a, b in noise], resamples=400)
        covered += low <= 2.0 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_memory_is_what_was_held_at_once_not_what_was_allocated() -> None:
    assert peak_bytes([(1, 100), (2, 50), (3, -100), (4, 80), (5, -50), (6, -80)]) == 150
    assert slope([(1, 5), (2, 5), (4, 5)]) == pytest.approx(0)
    assert slope([(1, 3), (2, 12), (4, 48)]) == pytest.approx(2)


class Quadratic(nn.Module):
    """A block whose scores fill a T x T matrix, and whose state is a single vector."""

    def __init__(self, config: Any) -> None:
        super().__init__()

    def forward(self, x_BTD: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        return x_BTD + (x_BTD @ x_BTD.transpose(1, 2)).softmax(-1) @ x_BTD, (x_BTD[:, -1].clone(),)


class Width:
    d_model = 16


def test_a_block_that_fills_a_matrix_shows_exponent_two_and_a_fixed_state_exponent_zero() -> None:
    model = Decoder(Quadratic, Width(), DecoderConfig(layers=1)).eval()
    tokens = torch.randint(256, (1, 1024))
    states, peaks = zip(*(footprint(model, tokens[:, :T]) for T in (256, 512, 1024)), strict=True)
    assert states == (64, 64, 64)
    assert peaks[-1] >= 2 * 4 * 1024**2
    assert 1.8 < slope(list(zip((256, 512, 1024), peaks, strict=True))) <= 2.0


def test_memory_growth_of_the_transformer_is_linear_with_a_cache_of_the_closed_size(tmp_path: Path) -> None:
    numbers = measure(bench_for("memory-growth-v1", tmp_path, config={"d_model": 16, "heads": 1, "decoder": {"layers": 1}}))
    assert numbers["state_bytes"] == pytest.approx(2 * 8192 * 16 * 4, rel=1e-3)
    assert numbers["state_exponent"] == pytest.approx(1.0, abs=0.01)
    assert 0.9 < numbers["memory_exponent"] < 1.2


def test_a_mixture_of_experts_has_many_parameters_at_the_flops_of_one_expert(tmp_path: Path) -> None:
    config = {"d_model": 32, "heads": 2, "experts": 8}
    bench = bench_for("flops-v1", tmp_path, module="moe", config=config)
    numbers = measure(bench)
    assert numbers["parameters"] - bench.facts["dense_parameters"] == 2 * (
        8 * 8 * 32 * 32 + 2 * 8 * 32
    )  # a common part and eight, less the dense one
    router, dense = 2 * 6 * 2 * 8 * 32, bench.facts["dense_train_flops"]
    assert numbers["flops_ratio"] == pytest.approx(1 + router / dense, rel=1e-6)


def test_the_reference_shares_the_settings_or_matches_the_size(tmp_path: Path) -> None:
    bench = bench_for("train-throughput-512-v1", tmp_path, module="moe", config={"d_model": 32, "heads": 2, "ffn_multiple": 2.0})
    assert (
        counterpart(bench).parameters_count
        == subject(
            bench_for(
                "flops-v1",
                tmp_path,
                config={
                    "d_model": 32,
                    "heads": 2,
                    "ffn_multiple": 2.0,
                },
            )
        ).parameters_count
    )
    wanted = subject(bench).parameters_count
    assert of_equal_size(bench, parameters=wanted).parameters_count == pytest.approx(wanted, rel=0.02)
    with pytest.raises(TermsError, match="no transformer of the same width has about 100 parameters"):
        of_equal_size(bench, parameters=100)


@pytest.mark.parametrize(
    ("name", "metric"), [("train-throughput-512-v1", "train_ratio"), ("decode-throughput-2k-v1", "decode_ratio")]
)
def test_speed_of_the_transformer_against_itself_is_a_ratio_with_its_interval(name: str, metric: str, tmp_path: Path) -> None:
    bench = bench_for(name, tmp_path, config={"d_model": 16, "heads": 1, "decoder": {"layers": 1}})
    numbers = measure(bench)
    low, high = bench.facts["interval_95"]
    assert bench.facts["reference_parameters"] == numbers["parameters"]
    assert math.isfinite(numbers[metric])
    assert low <= numbers[metric] <= high
    assert len(bench.series["ratio"]) == bench.options["pairs"]


def test_every_benchmark_name_carries_a_version_and_every_metric_a_known_unit() -> None:
    for name, entry in catalogue.shelf("benchmark").items():
        assert name.rpartition("-v")[2].isdigit()
        assert set(entry.arguments["metrics"].values()) <= {"", "B", "s", "x", "bpb", "FLOP"}
        assert entry.summary
        assert entry.arguments["source"]


def test_a_kernel_is_timed_only_when_it_agrees_with_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = kernel_speed.KERNELS["retention"]

    def short(B: int, T: int, H: int, K: int, seed: int) -> Any:
        return real(1, 130, 2, 8, seed)

    def wrong(*sizes: int) -> Any:
        fast, plain, inputs = short(*sizes)
        return lambda **inputs: (fast(**inputs)[0] * 1.001, fast(**inputs)[1]), plain, inputs

    monkeypatch.setitem(kernel_speed.KERNELS, "retention", short)
    bench = bench_for("kernel-retention-2k-v1", tmp_path, module="retnet")
    low, high = (measure(bench), bench.facts["interval_95"])[1]
    assert 0 < low <= high
    monkeypatch.setitem(kernel_speed.KERNELS, "retention", wrong)
    with pytest.raises(AssertionError, match=r"off by more than 0.0001 .*out\.0 0\.001"):
        measure(bench_for("kernel-retention-2k-v1", tmp_path, module="retnet"))
