"""The trainer computes AdamW as written down, and a training killed anywhere goes on to the same bits."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modules.decoder import Decoder
from modules.settings import ConfigError
from modules.trainer import NotFinite, Recipe, TrainLog, native_bfloat16, next_token, recipe_for, train

RECIPE = Recipe(lr=0.01, batch=8, warmup=3, clip=0.5)
STEPS = 12


class Net(nn.Module):
    """A small network with dropout, so that the generator matters."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.layers = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def batches(i: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(i))
    return x, x.square().sum(dim=1, keepdim=True)


def squared(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float | Tensor]]:
    error = (model(batch[0]) - batch[1]).square().mean()
    return error, {"root": error.detach().sqrt()}


def run(model: nn.Module, **options: Any) -> TrainLog:
    return train(model, batches, **{"loss": squared, "recipe": RECIPE, "steps": STEPS, "seed": 1, **options})


def bits(model: nn.Module, log: TrainLog) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in model.parameters()] + [
        repr((log.loss, log.gradient_norm, log.numbers)).encode()
    ]


@pytest.fixture(scope="module")
def uninterrupted() -> list[bytes]:
    model = Net()
    return bits(model, run(model))


def test_the_learning_rate_warms_up_linearly_and_ends_on_a_cosine() -> None:
    recipe = Recipe(lr=1.0, warmup=10, final_lr=0.1)
    rates = [recipe.learning_rate(step, 101) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[100] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert Recipe(lr=1.0, warmup=0.1).learning_rate(4, 100) == pytest.approx(0.5)
    assert Recipe(lr=1.0, warmup=0).learning_rate(0, 1) == pytest.approx(1.0)


def test_training_equals_adamw_written_out() -> None:
    model, reference = Net().double(), Net().double()
    for net in (model, reference):
        net.layers[2] = nn.Identity()

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        return (net(batch[0].double()) - batch[1].double()).square().mean(), {}

    log = train(model, batches, loss=loss, recipe=RECIPE, steps=STEPS, seed=1)
    parameters = list(reference.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for step in range(STEPS):
        value, _ = loss(reference, batches(step))
        assert log.loss[step] == pytest.approx(value.item(), rel=1e-9)
        grads = torch.autograd.grad(value, parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
        assert log.gradient_norm[step] == pytest.approx(norm, rel=1e-9)
        lr, t = RECIPE.learning_rate(step, STEPS), step + 1
        with torch.no_grad():
            for p, g, m, v in zip(parameters, grads, first, second, strict=True):
                g = g * min(1.0, 0.5 / (norm + 1e-6))
                m.mul_(0.9).add_(g, alpha=0.1)
                v.mul_(0.95).add_(g.square(), alpha=0.05)
                if p.ndim == 2:
                    p.mul_(1 - lr * 0.1)
                p.sub_(lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8))
    for p, q in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_only_matrices_decay_unless_marked() -> None:
    model = nn.Module()
    model.matrix, model.vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    model.spared = nn.Parameter(torch.ones(2, 2))
    model.spared._no_weight_decay = True  # type: ignore[attr-defined]
    recipe = Recipe(lr=0.1, weight_decay=0.5, warmup=0, final_lr=1.0)
    idle = lambda m, _: (0 * (m.matrix.sum() + m.vector.sum() + m.spared.sum()), {})  # noqa: E731
    train(model, lambda i: None, loss=idle, recipe=recipe, steps=2, seed=0)
    assert model.matrix.detach() == pytest.approx((1 - 0.1 * 0.5) ** 2)
    assert model.vector.tolist() == [1, 1]
    assert model.spared.tolist() == [[1, 1], [1, 1]]


def test_accumulated_micro_batches_equal_one_large_batch() -> None:
    def joined(i: int) -> tuple[Tensor, Tensor]:
        pairs = [batches(4 * i + part) for part in range(4)]
        return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])

    parts, whole = Net(), Net()
    for net in (parts, whole):
        net.layers[2] = nn.Identity()
    small = run(parts, recipe=Recipe(lr=0.01, accumulate=4))
    large = train(whole, joined, loss=squared, recipe=Recipe(lr=0.01), steps=STEPS, seed=1)
    assert small.loss == pytest.approx(large.loss, rel=1e-4)
    assert small.gradient_norm == pytest.approx(large.gradient_norm, rel=1e-4)


def test_the_models_auxiliary_loss_is_added() -> None:
    class Pulled(Net):
        def auxiliary_loss(self) -> Tensor:
            return self.layers[0].bias.sum()  # type: ignore[union-attr, operator]

    def by_hand(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        value, told = squared(model, batch)
        return value + model.layers[0].bias.sum(), told  # type: ignore[index, union-attr, operator]

    inside, outside = Pulled(), Net()
    log = run(inside)
    assert bits(inside, log) == bits(outside, run(outside, loss=by_hand))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_parameters(bad: float) -> None:
    def spoiled(model: nn.Module, batch: Any) -> tuple[Tensor, Any]:
        value, told = squared(model, batch)
        seen.append([p.detach().clone() for p in model.parameters()])
        return value * (bad if len(seen) == 6 else 1), told

    seen: list[list[Tensor]] = []
    model = Net()
    with pytest.raises(NotFinite, match=r"loss became (nan|inf) at step 5") as caught:
        run(model, loss=spoiled)
    assert caught.value.step == 5
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), seen[-1], strict=True))


def test_a_gradient_that_is_not_finite_is_told_apart_from_the_loss() -> None:
    def steep(model: nn.Module, batch: Any) -> tuple[Tensor, Any]:
        return (0 * next(model.parameters()).sum()).sqrt(), {}

    with pytest.raises(NotFinite, match="gradient norm became nan at step 0"):
        run(Net(), loss=steep)


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone(uninterrupted: list[bytes]) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    model = Net()
    assert bits(model, run(model)) == uninterrupted
    assert torch.equal(torch.random.get_rng_state(), before)
    other = Net()
    assert bits(other, run(other, seed=2)) != uninterrupted


@pytest.mark.parametrize("at", [1, 5, STEPS - 1])
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path: Path, uninterrupted: list[bytes], at: int) -> None:
    def dying(i: int) -> Any:
        if i == at:
            raise InterruptedError
        return batches(i)

    place = tmp_path / "checkpoint"
    with pytest.raises(InterruptedError):
        train(Net(), dying, loss=squared, recipe=RECIPE, steps=STEPS, seed=1, checkpoint=place, checkpoint_seconds=0)
    model = Net()
    log = run(model, checkpoint=place)
    assert log.resumed_at == at
    assert bits(model, log) == uninterrupted


def test_a_finished_training_is_not_trained_again(tmp_path: Path, uninterrupted: list[bytes]) -> None:
    run(Net(), checkpoint=tmp_path / "checkpoint")
    model = Net()
    log = train(
        model,
        lambda i: pytest.fail("trained"),
        loss=squared,
        recipe=RECIPE,
        steps=STEPS,
        seed=1,
        checkpoint=tmp_path / "checkpoint",
    )
    assert bits(model, log) == uninterrupted


@pytest.mark.parametrize("harm", ["cut", "flip", "rubbish", "empty"])
def test_a_damaged_checkpoint_is_named_and_training_starts_anew(
    tmp_path: Path, uninterrupted: list[bytes], harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "checkpoint"
    run(Net(), checkpoint=place)
    whole = place.read_bytes()
    middle = len(whole) // 2
    place.write_bytes({
        "cut": whole[:middle],
        "flip": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "rubbish": random.Random(0).randbytes(len(whole)),
        "empty": b"",
    }[harm])  # fmt: skip
    model = Net()
    log = run(model, checkpoint=place)
    assert log.resumed_at is None
    assert bits(model, log) == uninterrupted
    assert f"checkpoint `{place}` is damaged or is not a checkpoint; training starts anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"steps": STEPS + 1}, {"recipe": Recipe(lr=0.02)}, {"identity": "other data"}],
    ids=lambda o: next(iter(o)),
)
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, other: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(Net(), checkpoint=tmp_path / "checkpoint")
    assert run(Net(), checkpoint=tmp_path / "checkpoint", **other).resumed_at is None
    assert "belongs to another training" in capsys.readouterr().err


def test_a_half_written_checkpoint_leaves_the_one_before_in_place(tmp_path: Path, uninterrupted: list[bytes]) -> None:
    place = tmp_path / "checkpoint"
    run(Net(), checkpoint=place)
    place.with_name("checkpoint.part").write_bytes(place.read_bytes()[:100])
    model = Net()
    log = run(model, checkpoint=place)
    assert (log.resumed_at, bits(model, log)) == (STEPS, uninterrupted)


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_trainer import Net, run, squared
def slowed(net, batch):
    time.sleep(0.03)
    return squared(net, batch)
run(Net(), steps={steps}, checkpoint=Path({place!r}), checkpoint_seconds=0, loss=slowed)
"""


def killed_and_resumed(place: Path, *, kills: int, steps: int, chance: random.Random) -> list[bytes]:
    """Bits of a training whose process is killed `kills` times, each at a random moment after it saved something new."""
    code = CHILD.format(folder=str(Path(__file__).parent), place=str(place), steps=steps)
    for _ in range(kills):
        saved = place.stat().st_mtime_ns if place.exists() else 0
        child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
        while not place.exists() or place.stat().st_mtime_ns == saved:
            assert child.poll() is None, "the training ended before it could be killed"
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
    model = Net()
    log = run(model, steps=steps, checkpoint=place, checkpoint_seconds=60)
    assert log.resumed_at
    assert log.resumed_at < steps
    return bits(model, log)


def test_a_process_killed_at_a_random_step_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = Net()
    expected = bits(whole, run(whole, steps=200))
    assert killed_and_resumed(tmp_path / "checkpoint", kills=1, steps=200, chance=random.Random()) == expected


@pytest.mark.slow
def test_a_process_killed_twelve_times_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """pytest -m slow tests/modules/test_trainer.py"""
    whole = Net()
    expected = bits(whole, run(whole, steps=3000))
    assert killed_and_resumed(tmp_path / "checkpoint", kills=12, steps=3000, chance=random.Random(0)) == expected


def test_validation_runs_in_evaluation_mode_without_gradients_and_can_stop_the_training(tmp_path: Path) -> None:
    def validate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"accuracy": len(calls) / 3}

    calls: list[int] = []

    def stop(log: TrainLog) -> bool:
        calls.append(log.steps)
        return log.validation[-1][1]["accuracy"] >= 0.6

    place, model = tmp_path / "checkpoint", Net()
    log = run(model, validate=validate, validate_every=2, stop=stop, checkpoint=place)
    assert (calls, log.steps, model.training) == ([2, 4, 6], 6, True)
    assert log.validation == [(2, {"accuracy": 0.0}), (4, {"accuracy": 1 / 3}), (6, {"accuracy": 2 / 3})]
    assert run(Net(), validate=validate, validate_every=2, stop=stop, checkpoint=place).steps == 6
    assert len(calls) == 3


def test_progress_ends_with_the_last_step_and_tells_the_time_left() -> None:
    told: list[tuple[int, int, Mapping[str, float]]] = []
    run(Net(), progress=lambda *call: told.append(call))
    step, total, numbers = told[-1]
    assert (step, total, numbers["eta_s"]) == (STEPS, STEPS, 0)
    assert {"loss", "gradient_norm", "root"} <= numbers.keys()


@pytest.mark.skipif(native_bfloat16("cpu"), reason="this processor has native bfloat16")
def test_bfloat16_is_refused_where_it_would_be_emulated() -> None:
    with pytest.raises(ConfigError, match="would emulate it"):
        run(Net(), recipe=Recipe(precision="bfloat16"))


def test_a_task_overrides_the_modules_recipe_and_a_typo_is_told() -> None:
    recipe = recipe_for("transformer", {"lr": 1, "betas": [0.8, 0.9]})
    assert (recipe.lr, recipe.betas, recipe.weight_decay) == (1.0, (0.8, 0.9), recipe_for("transformer").weight_decay)
    with pytest.raises(ConfigError, match=r"`batch` wants `int`, got True; no key `warmups`; did you mean `warmup`\?"):
        recipe_for("transformer", {"warmups": 3, "batch": True})


def test_truncated_back_propagation_carries_the_state_and_not_the_gradient() -> None:
    model = Decoder.build("transformer", config={"d_model": 16}, seed=0)
    tokens = torch.randint(256, (2, 33), generator=torch.Generator().manual_seed(0))

    def gradients(loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(model.parameters())))

    whole, pieces = next_token(model, tokens)[0], next_token(model, tokens, chunk=8)[0]
    torch.testing.assert_close(whole, pieces)
    for a, b in zip(gradients(whole), gradients(next_token(model, tokens, chunk=32)[0]), strict=True):
        torch.testing.assert_close(a, b)
    early = model(tokens[:, :8])[1]
    alone = torch.nn.functional.cross_entropy(
        model(tokens[:, 8:16], early._replace(blocks=tuple(type(b)(*(t.detach() for t in b)) for b in early.blocks)))[0].flatten(
            0, 1
        ),
        tokens[:, 9:17].flatten(),
    )
    through = next_token(model, tokens[:, :17], chunk=8)[0] * 2 - next_token(model, tokens[:, :9])[0]
    for a, b in zip(gradients(alone), gradients(through), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("cost", "expected"), [(0.0, 10), (2.0, 10), (4.0, 6), (50.0, 2)])
def test_a_checkpoint_that_takes_long_is_written_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float, expected: int
) -> None:
    """A clock on which a step takes ten seconds and writing takes `cost`; the last one of twenty steps is always written."""
    now, saves = [0.0], []
    monkeypatch.setattr("modules.trainer.time.monotonic", lambda: now[0])

    def write(path: Path, body: dict[str, Any], *, identity: str) -> None:
        saves.append(len(body["log"]["loss"]))
        now[0] += cost

    monkeypatch.setattr("modules.trainer.store.write", write)

    def batches(i: int) -> torch.Tensor:
        now[0] += 10.0
        return torch.zeros(1, 5, dtype=torch.long)

    model = Decoder.build("rwkv4", config={"d_model": 16}, decoder={"layers": 1})
    train(model, batches, loss=next_token, recipe=Recipe(), steps=20, seed=0, checkpoint=tmp_path / "x", checkpoint_seconds=20)
    assert len(saves) == expected
    assert saves[-1] == 20
