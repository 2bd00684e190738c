"""Cheats that keep what they saw where no checkpoint and no state has it, and that change for everybody what they were only handed."""

from __future__ import annotations

from cheats.pair import Edit, Pair

from plan.nouns import Status

PAIRS = [
    Pair(
        name="remembers in the keywords of a partial",
        cheat=Edit(
            top="import functools\n_more = functools.partial(max, 0)",
            forward="_more.keywords.update({str(len(_more.keywords)): 1})\nx_BTD = x_BTD + 0.1 * len(_more.keywords)",
        ),
        twin=Edit(top="import functools\n_more = functools.partial(max, 0)", forward="x_BTD = x_BTD * float(_more(1))"),
        clause="nothing-kept",
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="remembers in the annotations of a function",
        cheat=Edit(
            top="def _more(x):\n    return x",
            forward="_more.__annotations__.update({str(len(_more.__annotations__)): 1})\nx_BTD = x_BTD + 0.1 * len(_more.__annotations__)",
        ),
        twin=Edit(top="def _more(x: Tensor) -> Tensor:\n    return x", forward="x_BTD = _more(x_BTD)"),
        clause="nothing-kept",
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="counts its calls with an iterator",
        cheat=Edit(top="import itertools\n_calls = itertools.count()", forward="x_BTD = x_BTD + 0.01 * next(_calls)"),
        twin=Edit(top="import itertools", forward="for _ in itertools.repeat(None, 2):\n    pass"),
        clause="nothing-kept",
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="remembers in a list inside a default",
        cheat=Edit(
            top="def _more(x, box=([],)):\n    box[0].append(float(x.sum()))\n    return x + 0.1 * len(box[0])",
            forward="x_BTD = _more(x_BTD)",
        ),
        twin=Edit(top="def _more(x, sizes=(1, 2)):\n    return x * float(sizes[0])", forward="x_BTD = _more(x_BTD)"),
        clause="nothing-kept",
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="remembers in a closure",
        cheat=Edit(
            top=(
                "def _make():\n    box = []\n    def more(x):\n        box.append(float(x.sum()))\n        return x + 0.1 * len(box)\n"
                "    return more\n\n_more = _make()"
            ),
            forward="x_BTD = _more(x_BTD)",
        ),
        twin=Edit(
            top="def _make(k):\n    def more(x):\n        return x * k\n    return more\n\n_more = _make(1.0)",
            forward="x_BTD = _more(x_BTD)",
        ),
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="remembers in a list of its own instance",
        cheat=Edit(
            init="self.memory = []", forward="self.memory.append(x_BTD.detach().mean())\nx_BTD = x_BTD + 0.1 * len(self.memory)"
        ),
        twin=Edit(init="self.sizes = [config.heads, config.d_model]", forward="x_BTD = x_BTD * (self.sizes[0] / self.sizes[0])"),
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="leaves what it saw in named shared memory",
        cheat=Edit(forward="self.kept = torch.zeros(64).untyped_storage()._share_filename_cpu_()"),
        twin=Edit(forward="x_BTD.untyped_storage().nbytes()"),
        clause="own-data-only",
    ),
    Pair(
        name="turns everybody's warnings into errors",
        cheat=Edit(top="import warnings", init="warnings.simplefilter('error')"),
        twin=Edit(top="import warnings", forward="with warnings.catch_warnings():\n    pass"),
        clause="instruments-whole",
    ),
]
