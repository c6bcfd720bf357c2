import numpy as np
import pytest
from numpy.typing import ArrayLike

from epvs_bids.simulation.raters import rate


def one_way(x: ArrayLike, y: ArrayLike) -> float:
    pairs = np.column_stack([x, y]).astype(float)
    between = 2 * pairs.mean(axis=1).var(ddof=1)
    within = ((pairs - pairs.mean(axis=1, keepdims=True)) ** 2).sum() / len(pairs)
    return float((between - within) / (between + within))


def test_reliability_is_as_chosen(rng: np.random.Generator) -> None:
    counts = rng.negative_binomial(1.5, 1.5 / 8.5, 6000)
    ratings = rate(rng, counts)
    assert list(ratings) == ["A1", "A2", "B1", "B2"]
    assert one_way(ratings.A1, ratings.A2) == pytest.approx(0.80, abs=0.05)
    assert one_way(ratings.B1, ratings.B2) == pytest.approx(0.80, abs=0.05)
    assert one_way(ratings.A1, ratings.B2) == pytest.approx(0.66, abs=0.05)
    assert (ratings >= 0).all(axis=None)


def test_perfect_raters_see_the_truth(rng: np.random.Generator) -> None:
    ratings = rate(rng, [0, 3, 8], intra=1, inter=1)
    np.testing.assert_array_equal(ratings.to_numpy(), np.repeat([[0], [3], [8]], 4, axis=1))


def test_impossible_reliability_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="inter <= intra"):
        rate(rng, [1, 2], intra=0.5, inter=0.7)
