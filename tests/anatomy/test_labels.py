"""Masks made of labels."""

from __future__ import annotations

import numpy as np
import pytest

from epvs_bids.anatomy.labels import basal_ganglia_mask, brain_mask, dice, largest_components


def test_basal_ganglia_are_the_eight_structures() -> None:
    labels = np.arange(60).reshape(3, 4, 5)
    assert sorted(labels[basal_ganglia_mask(labels)]) == [11, 12, 13, 26, 50, 51, 52, 58]


def test_specks_are_dropped_structure_by_structure() -> None:
    labels = np.zeros((20, 20, 20), np.int32)
    labels[2:8, 2:8, 2:8] = 12
    labels[15, 15, 15] = 12
    labels[10:12, 10:12, 10:12] = 51
    labels[18, 18, 18] = 4
    labels[0, 0, 0] = 4
    cleaned, dropped = largest_components(labels)
    assert dropped == {"Left-Putamen": 1}
    assert cleaned[15, 15, 15] == 0
    assert (cleaned == 12).sum() == 216
    assert (cleaned == 51).sum() == 8
    assert (cleaned == 4).sum() == 2
    assert labels[15, 15, 15] == 12


def test_brain_is_one_piece_without_holes_and_skull() -> None:
    labels = np.full((20, 20, 20), 258, np.int32)
    labels[4:16, 4:16, 4:16] = 2
    labels[9, 9, 9] = 0
    labels[19, 19, 19] = 3
    mask = brain_mask(labels)
    assert mask.sum() == 12**3
    labels[19, 19, 19] = 258
    np.testing.assert_array_equal(brain_mask(labels), mask)
    assert mask[9, 9, 9]
    assert not brain_mask(np.zeros((5, 5, 5), np.int32)).any()


def test_dice() -> None:
    first, second = np.zeros(10, bool), np.zeros(10, bool)
    first[:6], second[3:7] = True, True
    assert dice(first, second) == pytest.approx(2 * 3 / 10)
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 0
