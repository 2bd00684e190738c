"""Group-informed consensus: how sure one may be that somebody of *every* group agrees, as a product over the groups.

Source: Small, Bjorkegren, Erkkila, Shaw, Megill, "Polis: scaling deliberation by mapping high dimensional opinion spaces" (2021), section 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alignment.polis_export import Labels, Votes


def support(votes: Votes, groups: Labels) -> NDArray[np.float64]:
    """(G, S): (agreements + 1) / (votes seen + 2) of each group on each statement; participants without a group do not count.

    Groups in the order of their labels; a statement that a group never saw stands at one half.
    """
    present = np.unique(groups[groups >= 0])
    if not len(present):
        raise ValueError("no participant has a group; find groups first. nothing was computed")
    rows = [votes[groups == g] for g in present]
    return np.array([((v == 1).sum(0) + 1) / ((~np.isnan(v)).sum(0) + 2) for v in rows])


def group_informed_consensus(votes: Votes, groups: Labels) -> NDArray[np.float64]:
    """(S,): the product over the groups of their support."""
    return np.asarray(support(votes, groups).prod(0), dtype=np.float64)
