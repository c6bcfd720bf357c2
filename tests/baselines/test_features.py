"""Features of the simple methods, on images whose content is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import frangi

from epvs_bids.baselines.components import bounding_box, components_above
from epvs_bids.baselines.frangi import symmetric_eigenvalues, vesselness
from epvs_bids.baselines.intensity import mean_intensity
from epvs_bids.baselines.thresholds import best_threshold, threshold_levels
from epvs_bids.baselines.volume import volumes_above


def blobs(n: int, *, value: float = 2.0) -> np.ndarray:
    """Tissue at 1 in a box of zeros, with `n` separate bright cubes of 8 voxels."""
    image = np.zeros((30, 30, 20), dtype=np.float32)
    image[3:27, 3:27, 3:17] = 1
    for index in range(n):
        x, y = 5 + 5 * (index % 4), 5 + 5 * (index // 4)
        image[x : x + 2, y : y + 2, 8:10] = value
    return image


def test_intensity_volume_and_components_of_blobs() -> None:
    image = blobs(6)
    assert mean_intensity(image) == pytest.approx((24 * 24 * 14 + 48) / image.size)
    assert volumes_above(image, [0, 1, 1.5, 2]).tolist() == [24 * 24 * 14, 48, 48, 0]
    assert components_above(image, [0.5, 1.5, 2.5]).tolist() == [1, 6, 0]
    assert components_above(image[bounding_box(image)], 1.5).tolist() == [6]


def test_voxels_that_touch_at_a_corner_are_one_component() -> None:
    image = np.zeros((4, 4, 4))
    image[1, 1, 1] = image[2, 2, 2] = 1
    assert components_above(image, 0.5).tolist() == [1]


def test_best_threshold_follows_the_counts_and_not_their_opposite() -> None:
    counts = np.array([0, 2, 5, 9, 12])
    responses = np.column_stack([-counts, np.ones(5), counts + np.array([1, -1, 0, 1, -1]), [3, 1, 2, 1, 3]])
    assert best_threshold(responses, counts) == 2
    assert best_threshold(np.ones((5, 3)), counts) == 0


def test_threshold_levels_rise_from_the_median_towards_the_maximum() -> None:
    rng = np.random.default_rng(0)
    levels = threshold_levels([rng.uniform(0, 1, (40, 40, 40)) for _ in range(3)], n=5)
    assert (np.diff(levels) > 0).all()
    assert levels[[0, -1]] == pytest.approx([0.5, 0.9995], abs=0.01)
    with pytest.raises(ValueError, match="above zero"):
        threshold_levels([np.zeros((3, 3, 3))])


def test_eigenvalues_are_those_of_numpy() -> None:
    matrices = np.random.default_rng(1).normal(size=(200, 3, 3))
    matrices += matrices.transpose(0, 2, 1)
    elements = [matrices[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    expected = np.linalg.eigvalsh(matrices)
    expected = np.take_along_axis(expected, np.abs(expected).argsort(axis=1), axis=1)
    assert np.stack(symmetric_eigenvalues(elements), axis=1) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_vesselness_is_that_of_scikit_image(scale: float) -> None:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(40, 40, 40)), 1.2) * 60 + 100
    image[20, 20, 5:35] += 60
    inside = (slice(10, 30),) * 3
    ours = vesselness(image, scales=(scale,))[inside]
    theirs = frangi(image, sigmas=(scale,), black_ridges=False, mode="reflect")[inside]
    # Not equal to the digit: scikit-image takes the largest Hessian over the whole image, edges included.
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_vesselness_sees_tubes_rather_than_blobs_and_planes() -> None:
    axis = np.arange(-15, 16)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")

    def peak(distance: np.ndarray) -> float:
        response = vesselness(100 + 50 * np.exp(-(distance**2) / 4), scales=(1.5,))
        return float(response[15, 15, 15])

    tube, blob, plane = peak(np.hypot(x, y)), peak(np.sqrt(x**2 + y**2 + z**2)), peak(np.abs(x))
    assert tube > 3 * blob
    assert tube > 3 * plane
    assert not vesselness(100 - 50 * np.exp(-(x**2 + y**2) / 4))[15, 15, 15]
