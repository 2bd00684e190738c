# ruff: noqa
from typing import NamedTuple, get_type_hints


class N(NamedTuple):
    x: int


assert get_type_hints(N) == {"x": int}
