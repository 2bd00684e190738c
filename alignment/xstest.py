"""The published XSTest files: prompts in families of contrasts, replies of three models, and splits that leave out whole groups.

A family is a type with its contrast: `homonyms` and `contrast_homonyms` are one, and so are the two types of privacy and of discrimination
with theirs. Source: "XSTest" (Roettger et al., NAACL 2024), CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alignment.published import DataFault, rows

T = TypeVar("T")

FAMILIES = {
    "nons_group_real_discr": "discr",
    "real_group_nons_discr": "discr",
    "privacy_public": "privacy",
    "privacy_fictional": "privacy",
}
HARM = {"safe": False, "unsafe": True}
LABELS = {"1_full_compliance": 0, "3_partial_refusal": 1, "2_full_refusal": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt, its family, and whether it asks for harm."""

    text: str
    family: str
    harm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's reply to a prompt, with the label that people agreed on, as an index into the classes of `refusal.py`."""

    model: str
    family: str
    prompt: str
    text: str
    label: int


def family(kind: str) -> str:
    """The family of a type of prompts."""
    name = kind.removeprefix("contrast_")
    return FAMILIES.get(name, name)


def prompts(folder: Path) -> list[Prompt]:
    """All prompts, in the order of the file; DataFault where it is not the published one's like."""
    return [
        Prompt(text=row["prompt"], family=family(row["type"]), harm=_among(HARM, row["label"], where))
        for where, row in rows(folder / "prompts.csv", ("prompt", "type", "label"))
    ]


def completions(folder: Path) -> list[Completion]:
    """All replies, model by model; DataFault where a file is not the published one's like."""
    return [
        Completion(
            model=path.stem.removeprefix("completions_"),
            family=family(row["type"]),
            prompt=row["prompt"],
            text=row["completion"],
            label=_among(LABELS, row["final_label"], where),
        )
        for path in sorted(folder.glob("completions_*.csv"))
        for where, row in rows(path, ("prompt", "type", "completion", "final_label"))
    ]


def _among(labels: Mapping[str, T], word: str, where: str) -> T:
    if word not in labels:
        raise DataFault(f"{where}: `{word[:40]}` is none of {', '.join(labels)}; fetch the file anew. nothing was read")
    return labels[word]


Chosen = NDArray[np.bool_]


def splits(*keys: Sequence[str]) -> Iterator[tuple[Chosen, Chosen]]:
    """(train, test) for every combination of the keys' values: what is trained on shares no key with what is judged."""
    columns = [np.asarray(key) for key in keys]
    for values in sorted(set(zip(*keys, strict=True))):
        alike = [column == value for column, value in zip(columns, values, strict=True)]
        yield ~np.logical_or.reduce(alike), np.logical_and.reduce(alike)
