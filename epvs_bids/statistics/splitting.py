"""Splits of a study into training, validation and test scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Split:
    """Indices of the scans of each part; together all scans, none twice."""

    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def split_scans(
    participants: ArrayLike,
    counts: ArrayLike,
    *,
    validation: float = 323 / 2017,
    test: float = 405 / 2017,
    seed: int = 0,
) -> Split:
    """Split scans at random into parts, by participant and balanced in their counts.

    Participants are ordered by their mean count (ties at random) and cut into runs of consecutive ones; each
    run gives its share to every part, so that all parts have the same distribution of counts. The shares are
    the paper's, 1289 / 323 / 405 scans (section 3.4).

    Parameters
    ----------
    participants, counts
        Shape (n,): whose scan each is, and its visual count.
    validation, test
        Shares of the participants, in (0, 1), below 1 together.
    seed
        Of the split.

    Raises
    ------
    ValueError
        For fewer than 10 participants.
    """
    labels, index = np.unique(np.asarray(participants), return_inverse=True)
    if len(labels) < 10:
        raise ValueError(f"{len(labels)} participants can't be split in three; 10 are needed")
    rng = np.random.default_rng(seed)
    means = np.bincount(index, weights=np.asarray(counts, dtype=np.float64)) / np.bincount(index)
    order = np.lexsort((rng.random(len(labels)), means))
    # Each part takes participants at equal distances along the order, from those that are still free.
    part = np.zeros(len(labels), dtype=np.intp)
    offsets = rng.random(2)
    for number, (share, offset) in enumerate(zip((test, validation), offsets, strict=True), start=1):
        free = order[part[order] == 0]
        wanted = max(1, round(share * len(labels)))
        positions = np.floor((np.arange(wanted) + offset) * len(free) / wanted).astype(np.intp)
        part[free[positions]] = number
    scans = part[index]
    return Split(np.flatnonzero(scans == 0), np.flatnonzero(scans == 2), np.flatnonzero(scans == 1))
