from typing import Literal

import numpy as np
import pytest
from scipy import ndimage

from epvs_bids.simulation import operators


def test_spline_agrees_with_scipy(rng: np.random.Generator) -> None:
    values = rng.standard_normal(20).astype(np.float32)
    positions = np.linspace(0, 19, 57)
    expected = ndimage.map_coordinates(values, [positions], order=3, mode="mirror")
    np.testing.assert_allclose(operators.spline(20, positions) @ values, expected, atol=2e-5)


def test_linear_agrees_with_numpy(rng: np.random.Generator) -> None:
    values = rng.standard_normal(20).astype(np.float32)
    positions = np.linspace(-1, 20, 57)
    expected = np.interp(positions, np.arange(20), values)
    np.testing.assert_allclose(operators.linear(20, positions) @ values, expected, atol=1e-5)


def test_apply_multiplies_each_axis(rng: np.random.Generator) -> None:
    volume = rng.standard_normal((4, 5, 6)).astype(np.float32)
    matrices = [rng.standard_normal((3, size)).astype(np.float32) for size in volume.shape]
    expected = np.einsum("ai,bj,ck,ijk->abc", *matrices, volume)
    np.testing.assert_allclose(operators.apply(volume, matrices), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["box", "sinc", "gauss"])
def test_point_spread_keeps_a_constant(kind: Literal["box", "sinc", "gauss"]) -> None:
    matrix = operators.point_spread(100, 0.5, np.arange(5, 45, 3.0), width=3.0, kind=kind)
    np.testing.assert_allclose(matrix @ np.ones(100, np.float32), 1, atol=1e-4)


def test_thick_slices_average_over_their_thickness() -> None:
    fine = np.zeros(200, np.float32)
    fine[100] = 1
    seen = operators.point_spread(200, 0.5, np.array([49.0, 50.0, 51.0, 55.0]), width=3.0, kind="box") @ fine
    np.testing.assert_allclose(seen[:3], 1 / 6, rtol=0.15)
    assert seen[3] < 0.01


def test_truncated_k_space_rings() -> None:
    edge = np.r_[np.zeros(60), np.ones(60)].astype(np.float32)
    positions = np.arange(10, 50, 0.5)
    rings = operators.point_spread(120, 0.5, positions, width=1.0, kind="sinc") @ edge
    smooth = operators.point_spread(120, 0.5, positions, width=1.0, kind="gauss") @ edge
    assert rings.max() > 1.04
    assert smooth.max() < 1.001


def test_smooth_field_is_standardised_and_smooth(rng: np.random.Generator) -> None:
    field = operators.smooth_field(rng, (60, 60, 60), 6.0)
    assert abs(field.mean()) < 0.3
    assert 0.8 < field.std() < 1.2
    assert np.abs(np.diff(field, axis=0)).mean() < 0.3
    long, _, short = (
        np.abs(np.diff(operators.smooth_field(rng, (60, 60, 60), (12.0, 6.0, 3.0)), axis=axis)).mean()
        for axis in range(3)
    )
    assert long < 0.5 * short
