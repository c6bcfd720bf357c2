"""The order in which a rater reads: shuffled, with repeats mixed in, also of scans that come later."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

MIN_BETWEEN = 10
"""A scan comes back only after at least so many others, or half of the scans where they are under 20."""

Step = tuple[str, int]
"""Name of a scan, and 1 or 2 for its first or second reading."""


def shuffled_plan(
    names: Sequence[str],
    *,
    rater: str,
    seed: int,
    repeats: float,
    over: Sequence[Step] = (),
    waiting: Sequence[Step] = (),
) -> list[Step]:
    """Shuffle scans and mix second readings in, the same way for the same arguments.

    Each rater has an order of their own. As it is random, the scans early enough in it to come back are
    a random sample of all. Scans that are added later follow those that wait, and any that waits may come
    back: one that was added at the end has too few others behind it.

    Parameters
    ----------
    names
        Scans to add, in any order.
    rater
        Name of the rater.
    seed
        Seed of the order.
    repeats
        Share (0–1) of all scans that are read twice, rounded up; fewer where they would come back too soon.
    over, waiting
        Readings that are over, and those that are still to come, in their order.

    Returns
    -------
    What is to come, one entry a reading: `waiting` in its order, the scans to add, and second readings. At
    least `MIN_BETWEEN` (in small sets: fewer) others lie between two of one scan.
    """
    scans = {name for name, _ in (*over, *waiting)}.union(names)
    rng = np.random.default_rng([seed, zlib.crc32(rater.encode()), len(scans)])
    plan: list[Step] = [*waiting, *((str(name), 1) for name in rng.permutation(sorted(names)))]
    between = min(MIN_BETWEEN, len(scans) // 2)
    twice = {name for name, number in (*over, *plan) if number == 2}
    room = plan[: max(0, len(plan) - between)]
    early = [name for name, number in room if number == 1 and name not in twice]
    wanted = max(0, math.ceil(repeats * len(scans)) - len(twice))
    for name in rng.permutation(early)[:wanted]:
        first = plan.index((str(name), 1))
        plan.insert(int(rng.integers(first + 1 + between, len(plan) + 1)), (str(name), 2))
    return plan
