"""Division of a study by participant, alike in score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
PAPER_SHARES = {"validation": 323 / 2017, "test": 405 / 2017}
"""Of the paper's split: 1289 scans for training, 323 for validation, 405 for testing (section 3.4)."""

_NAME = "<U10"  # wide enough for any part, also where an array holds "train" only

STRATUM = 10
"""Participants of neighbouring scores among which parts are dealt at random (ours)."""


def split_by_participant(
    participants: Sequence[str], scores: ArrayLike, *, validation: float, test: float, seed: int
) -> NDArray[np.str_]:
    """Deal participants into training, validation and test, stratified by their mean score.

    Participants are put in order of score (ties at random); among every ten neighbours the parts have their
    shares, and who gets which is random. All scans of a participant are in one part.

    Parameters
    ----------
    participants : sequence of str
        (n,) label of each scan's participant.
    scores : array
        (n,) visual score of each scan.
    validation, test : float
        Shares of the participants, in [0, 1).
    seed : int
        The same seed gives the same division.

    Returns
    -------
    ndarray of str
        (n,) of ``train``, ``validation``, ``test``. Any part with a share above 0 has a participant, where
        there are as many participants as parts.
    """
    rng = np.random.default_rng(seed)
    labels = np.asarray(participants)
    people = np.unique(labels)
    values = np.asarray(scores, dtype=float)
    means = np.array([values[labels == person].mean() for person in people])
    order = np.lexsort((rng.random(len(people)), means))
    dealt = _deal(len(people), {"validation": validation, "test": test}, rng)
    part = dict(zip(people[order].tolist(), dealt, strict=True))
    return np.array([part[label] for label in labels.tolist()], dtype=_NAME)


def _deal(count: int, shares: dict[str, float], rng: np.random.Generator) -> list[str]:
    """Parts for `count` ordered participants: shares held within every stratum, at random inside it."""
    # Each held-out part gets its share, but at least one, evenly spaced along the order of scores.
    places = np.full(count, "train", dtype=_NAME)
    free = np.arange(count)
    for name, share in shares.items():
        wanted = min(max(1, round(share * count)), len(free) - 1) if share > 0 else 0
        spaced = free[np.floor((np.arange(wanted) + rng.random()) * len(free) / max(wanted, 1)).astype(int)]
        places[spaced] = name
        free = np.setdiff1d(free, spaced)
    for start in range(0, count, STRATUM):
        places[start : start + STRATUM] = rng.permutation(places[start : start + STRATUM])
    return [str(place) for place in places]
