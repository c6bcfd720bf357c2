"""Starts of registrations: landmarks, the coarse search, and mutual information."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from epvs_bids.anatomy.initialisation import (
    LANDMARKS,
    Thin,
    centres_of,
    coarse_search,
    landmark_transform,
    mutual_information,
    rotation_about,
    thin_out,
)


def blob() -> Thin:
    """Make a smooth asymmetric image of 3 mm voxels."""
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.normal(size=(40, 44, 36)), 3).astype(np.float32)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in noise.shape), indexing="ij"))
    mask = (grid**2).sum(axis=0) < 0.7
    data = np.where(mask, 1 + noise / noise.std() / 4, 0).astype(np.float32)
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = (-60, -66, -54)
    return Thin(data, mask, affine)


def test_blocks_keep_their_place() -> None:
    affine = rotation_about(np.zeros(3), (10.0, 20.0, -15.0)) @ np.diag([0.4, 0.5, 3.0, 1])
    x = np.arange(50, dtype=np.float32)[:, None, None] * np.ones((50, 60, 9), np.float32)
    mask = np.zeros(x.shape, bool)
    mask[10:31, 5:55, 2:8] = True
    thin = thin_out(x, affine, mask)
    assert thin.data.shape == (10, 25, 6)
    for index in ((0, 0, 0), (9, 24, 5)):
        where = np.linalg.inv(affine) @ thin.affine @ [*index, 1]
        assert thin.data[index] == pytest.approx(where[0], abs=1e-4)


def test_information_is_largest_in_place_whatever_the_contrast() -> None:
    fixed = blob()
    other = Thin((5 - fixed.data**2).astype(np.float32), fixed.mask, fixed.affine)
    shift = np.eye(4)
    shift[0, 3] = 6
    assert mutual_information(fixed, other, np.eye(4)) > 2 * mutual_information(fixed, other, shift)
    shift[0, 3] = 500
    assert mutual_information(fixed, other, shift) == 0


def test_coarse_search_finds_turns_and_shifts() -> None:
    fixed = blob()
    offset = rotation_about(np.array([5.0, 0, 3]), (20.0, -12.0, 15.0))
    offset[:3, 3] += (30, -25, 28)
    moving = Thin(fixed.data, fixed.mask, offset @ fixed.affine)
    found = coarse_search(fixed, moving)
    difference = np.linalg.inv(offset) @ found
    angle = np.rad2deg(np.arccos((np.trace(difference[:3, :3]) - 1) / 2))
    assert angle < 15
    assert np.linalg.norm(difference[:3, 3]) < 8


@pytest.mark.parametrize("n_slices", [8, 3])
def test_the_search_stays_in_place_where_little_was_scanned(n_slices: int) -> None:
    fixed = blob()
    first = 18 - n_slices // 2
    part = (slice(None), slice(None), slice(first, first + n_slices))
    affine = fixed.affine.copy()
    affine[2, 3] += 3 * first
    moving = Thin(fixed.data[part], fixed.mask[part], affine)
    share = fixed.mask[part].sum() / fixed.mask.sum()
    assert share < 0.45
    np.testing.assert_array_equal(coarse_search(fixed, moving), np.eye(4))
    assert (mutual_information(fixed, moving, np.eye(4)) > 1) == (share > 0.2)


def test_landmarks_give_the_transform_back() -> None:
    truth = rotation_about(np.array([0.0, 10, 20]), (-20.0, 20.0, 20.0))
    truth[:3, 3] += (30, -30, 30)
    centres = {k: truth[:3, :3] @ np.array(v) + truth[:3, 3] for k, v in LANDMARKS.items()}
    found = landmark_transform(centres)
    assert found is not None
    np.testing.assert_allclose(found[0], truth, atol=1e-9)
    assert found[1] < 1e-9
    assert np.linalg.det(found[0][:3, :3]) == pytest.approx(1)
    assert landmark_transform({11: np.zeros(3), 50: np.ones(3)}) is None


def test_centres() -> None:
    labels = np.zeros((10, 10, 10), np.int16)
    labels[2:5, 3, 4] = 11
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (1, 2, 3)
    centres = centres_of(labels, affine, [11, 12])
    assert list(centres) == [11]
    np.testing.assert_allclose(centres[11], (7, 8, 11))
