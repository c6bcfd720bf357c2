"""Grids and the one resampling, against known functions and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from epvs_bids.anatomy.grid import Grid, resample_to_grid, template_grid
from epvs_bids.anatomy.initialisation import rotation_about


def field(points: np.ndarray) -> np.ndarray:
    """Make a smooth function of millimetres, above 0."""
    x, y, z = np.moveaxis(points, -1, 0)
    return 10 + np.sin(x / 9) + np.cos(y / 7) * np.sin(z / 8)


def positions(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


AFFINES = {
    "plain": np.diag([1.5, 1.2, 2.0, 1]),
    "flipped": np.diag([-1.5, 1.2, -2.0, 1]),
    "axes exchanged": np.array([[0, 0, 1.5, 0], [-1.2, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1.0]]),
    "oblique": rotation_about(np.zeros(3), (15.0, -20.0, 25.0)) @ np.diag([1.5, 1.2, 2.0, 1]),
    "sheared": np.array([[1.5, 0.3, 0, 0], [0, 1.2, 0.2, 0], [0, 0, 2.0, 0], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_values_follow_the_transform(name: str) -> None:
    affine = AFFINES[name].copy()
    shape = (40, 40, 40)
    affine[:3, 3] -= affine[:3, :3] @ (np.array(shape) - 1) / 2
    scan = field(positions(Grid(shape, affine))).astype(np.float32)
    transform = rotation_about(np.array([3.0, 1, -2]), (5.0, 10.0, -8.0))
    transform[:3, 3] += (4, -3, 2)
    grid_affine = np.diag([0.5, 0.5, 0.5, 1])
    grid_affine[:3, 3] = np.linalg.inv(transform)[:3, 3] - 5
    grid = Grid((20, 20, 20), grid_affine)
    expected = field(positions(grid) @ transform[:3, :3].T + transform[:3, 3])
    np.testing.assert_allclose(resample_to_grid(scan, affine, transform, grid), expected, atol=0.02)


def test_a_crop_is_what_the_whole_grid_has_there() -> None:
    scan = np.random.default_rng(0).uniform(0, 1, (60, 50, 40)).astype(np.float32)
    affine = np.diag([1.1, 0.9, 1.3, 1])
    whole = template_grid(affine, (60, 50, 40), 1.0)
    part = whole.crop((20, 15, 12), (12, 10, 8))
    values = resample_to_grid(scan, affine, np.eye(4), whole)
    np.testing.assert_allclose(
        resample_to_grid(scan, affine, np.eye(4), part), values[20:32, 15:25, 12:20], atol=2e-6
    )


def test_cubic_spline_is_scipys() -> None:
    scan = np.random.default_rng(0).uniform(1, 2, (30, 30, 30)).astype(np.float32)
    grid = Grid((10, 10, 10), np.diag([0.5, 0.5, 0.5, 1]) + np.array([[0, 0, 0, 10.2]] * 3 + [[0, 0, 0, 0]]))
    index = np.moveaxis(positions(grid), -1, 0)
    expected = ndimage.map_coordinates(scan.astype(np.float64), index, order=3, mode="mirror")
    np.testing.assert_allclose(resample_to_grid(scan, np.eye(4), np.eye(4), grid), expected, atol=1e-5)


def test_nothing_negative_and_nothing_outside() -> None:
    scan = np.zeros((20, 20, 20), np.float32)
    scan[10, 10, 10] = 100
    grid = template_grid(np.eye(4), (20, 20, 20), 0.5)
    assert resample_to_grid(scan, np.eye(4), np.eye(4), grid).min() == 0
    far = Grid((5, 5, 5), np.diag([1.0, 1, 1, 1]) + np.array([[0, 0, 0, 500.0]] * 3 + [[0, 0, 0, 0]]))
    assert not resample_to_grid(scan, np.eye(4), np.eye(4), far).any()


def test_template_grid_covers_the_field_of_view() -> None:
    grid = template_grid(np.diag([-1.0, 1, 1, 1]), (10, 12, 14), 0.5)
    assert grid.shape == (20, 24, 28)
    np.testing.assert_allclose(grid.affine[:3, 3], [-9.25, -0.25, -0.25])
    np.testing.assert_allclose(grid.affine[:3, :3], np.eye(3) * 0.5)
