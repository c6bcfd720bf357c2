"""Labels as people write them in tables."""

from __future__ import annotations

import pytest

from epvs_bids.bids.labels import as_known, with_prefix


@pytest.mark.parametrize(
    ("text", "label"),
    [("01", "sub-01"), (" sub-01 ", "sub-01"), ("n/a", ""), ("nan", ""), ("", ""), ("sub-NA", "sub-NA")],
)
def test_labels_have_their_prefix_once(text: str, label: str) -> None:
    assert with_prefix(text, "sub") == label


def test_zeros_that_a_spreadsheet_dropped_are_found_again_where_they_can_be() -> None:
    read = as_known({"sub-01", "sub-2", "sub-007", "sub-07"})
    assert [read(f"sub-{label}") for label in ("1", "01", "02", "7", "07", "9")] == [
        "sub-01",
        "sub-01",
        "sub-2",
        "sub-7",  # two fit
        "sub-07",
        "sub-9",
    ]
    assert read("") == ""
