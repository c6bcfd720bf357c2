"""The order in which a rater reads: shuffled, with repeats mixed in."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

MIN_BETWEEN = 10
"""A scan comes back only after at least so many others, or half of the scans where they are under 20."""

Step = tuple[str, int]
"""Name of a scan, and 1 or 2 for its first or second reading."""


def shuffled_plan(names: Sequence[str], *, rater: str, seed: int, repeats: float) -> list[Step]:
    """Shuffle scans and mix second readings in, the same way for the same arguments.

    Each rater has an order of their own. As it is random, the scans early enough in it to come back are
    a random sample of all.

    Parameters
    ----------
    names
        Scans, in any order.
    rater
        Name of the rater.
    seed
        Seed of the order.
    repeats
        Share (0–1) of the scans that are read twice, rounded up.

    Returns
    -------
    One entry a reading. At least `MIN_BETWEEN` (in small sets: fewer) others lie between two of one scan.
    """
    rng = np.random.default_rng([seed, zlib.crc32(rater.encode()), len(names)])
    order = [str(name) for name in rng.permutation(sorted(names))]
    between = min(MIN_BETWEEN, len(order) // 2)
    wanted = min(math.ceil(repeats * len(order)), len(order) - between)
    plan: list[Step] = [(name, 1) for name in order]
    for name in rng.permutation(order[: len(order) - between])[:wanted]:
        first = plan.index((str(name), 1))
        plan.insert(int(rng.integers(first + 1 + between, len(plan) + 1)), (str(name), 2))
    return plan
