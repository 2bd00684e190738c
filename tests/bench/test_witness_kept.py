"""What may be read of the user's cache while something is measured: the encoder's vectors, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_house import House

from bench.autobench.tree import LINUX
from plan.nouns import Status


@pytest.mark.skipif(not LINUX, reason="the guarantees are made on Linux")
def test_what_the_encoder_keeps_for_this_user_is_read_and_nothing_else_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept, other = (tmp_path / "cache/touchstone" / folder / "a.rows" for folder in ("embeddings", "embeddings-too"))
    for file in (kept, other):
        file.parent.mkdir(parents=True)
        file.write_text("1")
    house = House(tmp_path / "house")
    try:
        assert house.measure("opens_outside", where={"is": str(kept)[::-1]}).metrics == {"score": 1}
        assert house.measure("opens_outside", where={"is": str(other)[::-1]}).status is Status.CRASHED
    finally:
        house.close()
