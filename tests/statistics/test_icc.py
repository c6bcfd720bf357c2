"""Intraclass correlations against Shrout & Fleiss (1979), R's psych, and known limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epvs_bids.statistics.icc import Estimate, intraclass_correlations

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def test_shrout_and_fleiss_1979_table_4() -> None:
    result = intraclass_correlations(SHROUT_FLEISS)
    values = [result.icc11.value, result.icc21.value, result.icc31.value]
    assert np.round(values, 2).tolist() == [0.17, 0.29, 0.71]
    assert (result.n, result.k) == (6, 4)


@pytest.mark.parametrize("data", ["icc_shrout_fleiss", "icc_counts"])
def test_values_and_intervals_are_those_of_psych(
    data: str, reference: dict[str, Any], counts: pd.DataFrame
) -> None:
    table = SHROUT_FLEISS if data == "icc_shrout_fleiss" else counts[["count", "score"]].to_numpy()
    result = intraclass_correlations(table)
    for ours, theirs in zip((result.icc11, result.icc21, result.icc31), reference[data], strict=True):
        assert ours.value == pytest.approx(theirs["value"], abs=1e-9)
        assert (ours.low, ours.high) == pytest.approx((theirs["low"], theirs["high"]), abs=1e-9)


def test_a_constant_offset_lowers_absolute_agreement_but_not_consistency() -> None:
    first = np.arange(20.0)
    result = intraclass_correlations(np.column_stack([first, first + 5]))
    assert result.icc31.value == 1
    assert result.icc11.value < result.icc21.value < 1


def test_opposite_ratings_have_a_negative_icc11() -> None:
    assert intraclass_correlations(np.column_stack([np.arange(10), np.arange(10)[::-1]])).icc11.value < 0


def test_no_variation_gives_nan_and_perfect_agreement_one() -> None:
    assert np.isnan(intraclass_correlations(np.ones((5, 2))).icc11.value)
    assert intraclass_correlations([[1, 1], [2, 2], [5, 5]]).icc21.value == 1


@pytest.mark.parametrize("table", [[[1, 2]], [[1], [2]], [[1, np.nan], [2, 3]], [1, 2, 3]])
def test_tables_without_an_icc_are_refused(table: list[Any]) -> None:
    with pytest.raises(ValueError, match="at least 2 × 2"):
        intraclass_correlations(table)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=30),
    st.integers(-50, 50),
    st.integers(1, 9),
)
def test_icc_does_not_change_with_unit_and_origin(
    pairs: list[tuple[int, int]], shift: int, scale: int
) -> None:
    table = np.array(pairs, dtype=float)
    before, after = intraclass_correlations(table), intraclass_correlations(scale * table + shift)
    for name in ("icc11", "icc21", "icc31"):
        assert getattr(after, name).value == pytest.approx(getattr(before, name).value, abs=1e-6, nan_ok=True)


def test_an_estimate_as_columns() -> None:
    assert Estimate(0.5, 0.25, 0.75).columns("icc11") == {
        "icc11": 0.5,
        "icc11_low": 0.25,
        "icc11_high": 0.75,
    }
