"""Training and decoding speed as a ratio to the dense transformer, both timed in turn within one measurement.

A ratio of 2 means twice as fast as the reference. Training is a whole optimiser step. Decoding is one token at a time, in one document
that grows through all the pairs, so that no cache is copied to start over; its mean length over them is the stated context.
`equal-size` means that the transformer's feed-forward is widened or narrowed until both have the same number of parameters;
`counterpart` that it has the settings of the module (for a mixture of experts, one expert).
"""

from __future__ import annotations

import torch

from bench.ceiling import reached
from bench.dense import counterpart, of_equal_size
from bench.pairs import Speedup, Work, speedup
from bench.request import Bench
from bench.subject import subject
from modules.decoder import Decoder
from modules.trainer import next_token
from plan.catalogue import benchmark


@benchmark(
    "train-throughput-128-v1",
    metrics={"train_ratio": "x", "parameters": ""},
    source="interleaved pairs against the transformer of equal size; small enough to be asked often",
    options={"batch": 2, "length": 128, "pairs": 7, "reference": "equal-size"},
    alone=True,
)
@benchmark(
    "train-throughput-512-v1",
    metrics={"train_ratio": "x", "parameters": ""},
    source="interleaved pairs against the transformer of equal size",
    options={"batch": 4, "length": 512, "pairs": 15, "reference": "equal-size"},
    alone=True,
)
@benchmark(
    "train-throughput-2k-v1",
    metrics={"train_ratio": "x", "parameters": ""},
    source="interleaved pairs against the transformer of equal size",
    options={"batch": 1, "length": 2048, "pairs": 15, "reference": "equal-size"},
    alone=True,
)
@benchmark(
    "train-throughput-counterpart-512-v1",
    metrics={"train_ratio": "x", "parameters": ""},
    source="interleaved pairs against the dense transformer with the same settings",
    options={"batch": 4, "length": 512, "pairs": 15, "reference": "counterpart"},
    alone=True,
)
def measure_training(bench: Bench) -> dict[str, float]:
    """Speed of a training step, as a ratio to the dense transformer's."""
    shape = (bench.options["batch"], bench.options["length"] + 1)
    model, reference = _both(bench)
    tokens_BT = torch.randint(256, shape, generator=torch.Generator().manual_seed(bench.request.seed)).to(bench.request.device)
    step = _training_step(model, tokens_BT)
    measured = _measured(bench, _training_step(reference, tokens_BT), step)
    bench.facts.update(reached(step, measured.seconds, device=bench.request.device))
    bench.facts["reference_attention_path"] = reference.facts()["attention_path"]
    return {"train_ratio": measured.ratio, "parameters": float(model.parameters_count)}


@benchmark(
    "decode-throughput-2k-v1",
    metrics={"decode_ratio": "x", "parameters": ""},
    source="interleaved pairs against the transformer of equal size, in a document of 2048 tokens on average",
    options={"context": 2048, "tokens": 32, "pairs": 20, "reference": "equal-size"},
    alone=True,
)
@benchmark(
    "decode-throughput-8k-v1",
    metrics={"decode_ratio": "x", "parameters": ""},
    source="interleaved pairs against the transformer of equal size, in a document of 8192 tokens on average",
    options={"context": 8192, "tokens": 32, "pairs": 20, "reference": "equal-size"},
    alone=True,
)
@benchmark(
    "decode-throughput-32k-v1",
    metrics={"decode_ratio": "x", "parameters": ""},
    source="interleaved pairs against the transformer of equal size, in a document of 32768 tokens on average",
    options={"context": 32768, "tokens": 16, "pairs": 20, "reference": "equal-size"},
    alone=True,
)
def measure_decoding(bench: Bench) -> dict[str, float]:
    """Speed of decoding token by token in a long document, as a ratio to the dense transformer's."""
    context, tokens, pairs = bench.options["context"], bench.options["tokens"], bench.options["pairs"]
    model, reference = _both(bench)
    generator = torch.Generator().manual_seed(bench.request.seed)
    prompt = context - tokens * (pairs + 1) // 2  # one call for warming up, then one per pair
    prompt_BT = torch.randint(256, (1, prompt), generator=generator).to(bench.request.device)
    measured = _measured(bench, _decoding(reference, prompt_BT, tokens), _decoding(model, prompt_BT, tokens))
    bench.facts["reference_attention_path"] = reference.facts()["attention_path"]
    return {"decode_ratio": measured.ratio, "parameters": float(model.parameters_count)}


def _both(bench: Bench) -> tuple[Decoder, Decoder]:
    model = subject(bench)
    kind = bench.options["reference"]
    reference = of_equal_size(bench, parameters=model.parameters_count) if kind == "equal-size" else counterpart(bench)
    bench.facts.update(reference=f"transformer, {kind}", reference_parameters=reference.parameters_count)
    return model, reference


def _training_step(model: Decoder, tokens_BT: torch.Tensor) -> Work:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(next_token(model, tokens_BT)[0] + model.auxiliary_loss())
        optimiser.step()

    return step


def _decoding(model: Decoder, prompt_BT: torch.Tensor, tokens: int) -> Work:
    model.eval()
    with torch.inference_mode():
        logits_BTV, state = model(prompt_BT, positions=torch.tensor([prompt_BT.shape[1] - 1], device=prompt_BT.device))
    token_B = logits_BTV[:, -1].argmax(-1)

    def decode() -> None:
        nonlocal token_B, state
        with torch.inference_mode():
            for _ in range(tokens):
                logits_BV, state = model.step(token_B, state)
                token_B = logits_BV.argmax(-1)

    return decode


def _measured(bench: Bench, reference: Work, model: Work) -> Speedup:
    pairs = bench.options["pairs"]
    measured = speedup(
        reference, model, pairs=pairs, device=bench.request.device, progress=lambda done, total: bench.progress(done, total, {})
    )
    bench.facts.update(
        interval_95=[measured.low, measured.high], pairs=pairs, clock=measured.clock, threads=torch.get_num_threads()
    )
    bench.series["ratio"] = [(float(i), a / b) for i, (a, b) in enumerate(measured.pairs, start=1)]
    return measured
