"""Splits by participant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epvs_bids.statistics.splitting import PAPER_SHARES, PARTS, split_by_participant


def test_split_has_the_papers_sizes_and_like_counts() -> None:
    counts = np.random.default_rng(0).negative_binomial(1, 0.2, 2017)
    split = split_by_participant([f"sub-{i:04d}" for i in range(2017)], counts, seed=0, **PAPER_SHARES)
    assert [int((split == part).sum()) for part in PARTS] == [1289, 323, 405]
    assert np.ptp([counts[split == part].mean() for part in PARTS]) < 0.3


@settings(max_examples=30, deadline=None)
@given(
    people=st.integers(3, 60),
    seed=st.integers(0, 1000),
    validation=st.sampled_from([0.0, 0.2, 0.5]),
    test=st.sampled_from([0.0, 0.2, 0.4]),
)
def test_no_participant_is_in_two_parts(people: int, seed: int, validation: float, test: float) -> None:
    rng = np.random.default_rng(seed)
    participants = [f"sub-{index}" for index in rng.integers(0, people, 2 * people)]
    scores = rng.poisson(4, len(participants))
    parts = split_by_participant(participants, scores, validation=validation, test=test, seed=seed)
    whose: dict[str, set[str]] = {}
    for participant, part in zip(participants, parts.tolist(), strict=True):
        whose.setdefault(participant, set()).add(part)
    assert all(len(found) == 1 for found in whose.values())
    assert "train" in parts
    if validation and len(whose) > 2:
        assert "validation" in parts


def test_parts_are_alike_in_score_and_follow_the_seed() -> None:
    rng = np.random.default_rng(0)
    people = [f"sub-{index}" for index in range(400)]
    scores = rng.negative_binomial(1, 0.2, 400)
    split = split_by_participant(people, scores, validation=0.2, test=0.3, seed=1)
    assert [int((split == part).sum()) for part in ("train", "validation", "test")] == [200, 80, 120]
    for part in ("validation", "test"):
        assert scores[split == part].mean() == pytest.approx(scores.mean(), rel=0.1)
    again = split_by_participant(people, scores, validation=0.2, test=0.3, seed=1)
    other = split_by_participant(people, scores, validation=0.2, test=0.3, seed=2)
    assert (split == again).all()
    assert (split == "test").astype(int) @ (other == "test").astype(int) < 60


def test_parts_can_be_dealt_again_without_losing_their_names() -> None:
    people = [f"sub-{index}" for index in range(20)]
    parts = split_by_participant(people, range(20), validation=0.0, test=0.0, seed=1)
    assert set(parts) == {"train"}
    parts[:] = split_by_participant(people, range(20), validation=0.2, test=0.0, seed=1)
    assert (parts == "validation").sum() == 4
