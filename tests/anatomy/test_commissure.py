"""The level of the anterior commissure: the person's, not the template's."""

from __future__ import annotations

import numpy as np
import pytest

from epvs_bids.anatomy.commissure import TEMPLATE_COMMISSURE, find_commissure
from epvs_bids.simulation.region import HELD_OUT, simulate_region

AFFINE = np.array([[0.5, 0, 0, -20], [0, 0.5, 0, -20], [0, 0, 0.5, -12], [0, 0, 0, 1]])


def test_it_lies_six_millimetres_below_the_middle() -> None:
    mask = np.zeros((80, 80, 60), np.float32)
    mask[10:30, 20:60, 30:41] = mask[50:70, 20:60, 30:41] = 0.7  # z from 3 to 8 mm
    mask[0] = 0.49
    assert find_commissure(mask, AFFINE) == pytest.approx((0.0, 2.9, -0.5))


def test_without_a_mask_it_is_the_templates() -> None:
    assert find_commissure(np.zeros((4, 4, 4)), AFFINE) == TEMPLATE_COMMISSURE


def test_simulated_people_have_theirs_near_it() -> None:
    away = [
        find_commissure(region.mask, region.anatomy.box.affine)[2] - region.anatomy.commissure[2]
        for region in (simulate_region(seed, HELD_OUT) for seed in range(50, 62))
    ]
    assert abs(np.mean(away)) < 1.5
    assert np.abs(away).max() < 3.5
