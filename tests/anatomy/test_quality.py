"""Checks that decide whether a score stands."""

from __future__ import annotations

import numpy as np
import pytest

from epvs_bids.anatomy.quality import coverage_remarks, volume_remarks


def test_volume_in_millilitres_and_its_limits() -> None:
    mask = np.zeros((40, 40, 40), dtype=np.bool_)
    mask[:20, :20, :20] = True
    volume, remarks = volume_remarks(mask, np.diag([1.0, -1.0, 2.0, 1.0]))
    assert volume == pytest.approx(16.0)
    assert remarks == []
    assert "2.0 mL" in volume_remarks(mask, np.diag([0.5, 0.5, 1.0, 1.0]))[1][0]


def test_a_scan_that_ends_inside_the_region() -> None:
    mask = np.zeros((20, 20, 20), dtype=np.float32)
    mask[5:15, 5:15, 5:15] = 1
    grid = np.eye(4)
    assert coverage_remarks(mask, grid, np.eye(4), np.eye(4), (20, 20, 20)) == []
    shifted = np.eye(4)
    shifted[2, 3] = -8  # the scan begins 3 voxels above the bottom of the mask
    assert coverage_remarks(mask, grid, shifted, np.eye(4), (20, 20, 20)) == [
        "the scan misses 30% of the region"
    ]
