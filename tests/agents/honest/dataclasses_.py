# ruff: noqa
from dataclasses import dataclass, asdict


@dataclass
class P:
    x: int = 1


assert asdict(P()) == {"x": 1}
