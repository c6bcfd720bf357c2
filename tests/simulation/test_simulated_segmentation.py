import numpy as np
import pytest

from epvs_bids.anatomy.grid import Grid
from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.anatomy.roi import smooth_mask as mask_of_app
from epvs_bids.simulation.acquisition import Protocol, grid_positions
from epvs_bids.simulation.anatomy import Anatomy
from epvs_bids.simulation.region import REGION
from epvs_bids.simulation.segmentation import segment, smooth_mask

THICK = Protocol(voxel_size=(0.6, 0.6, 3.3), thick_axis=2, offset=(0.1, -0.3, 0.2))


def grids(protocol: Protocol) -> list[np.ndarray]:
    return [
        grid_positions(REGION, protocol.voxel_size[axis], protocol.offset[axis], axis) for axis in range(3)
    ]


def roughness(found: np.ndarray) -> int:
    """Voxels within slices that differ from a neighbour."""
    return int(
        np.abs(np.diff(found.astype(int), axis=0)).sum() + np.abs(np.diff(found.astype(int), axis=1)).sum()
    )


def test_mask_is_what_the_app_makes_of_the_segmentation(anatomy: Anatomy) -> None:
    made = smooth_mask(np.random.default_rng(4), anatomy, THICK, error=0.5, ragged=0.3)

    found = segment(np.random.default_rng(4), anatomy, grids(THICK), error=0.5, ragged=0.3)
    affine = np.diag([*THICK.voxel_size, 1.0])
    affine[:3, 3] = REGION.affine[:3, 3] + [positions[0] for positions in grids(THICK)]
    grid = Grid(REGION.shape, REGION.affine)
    smooth, origin = mask_of_app(found, affine, np.eye(4), grid, RoiParameters())
    ours = np.zeros(REGION.shape, np.float32)
    low = np.maximum(origin, 0)
    high = np.minimum(np.add(origin, smooth.shape), REGION.shape)
    ours[tuple(map(slice, low, high))] = smooth[tuple(map(slice, low - origin, high - origin))]
    middle = (slice(12, -12),) * 3
    np.testing.assert_allclose(made[middle], ours[middle], atol=0.02)


def test_without_errors_the_segmentation_is_the_anatomy(anatomy: Anatomy) -> None:
    fine = Protocol(voxel_size=(0.5, 0.5, 0.5))
    found = segment(np.random.default_rng(0), anatomy, grids(fine), error=0.0, ragged=0.0)
    near = [
        np.rint(positions / 0.5).astype(int).clip(0, size - 1)
        for positions, size in zip(grids(fine), REGION.shape, strict=True)
    ]
    truth = anatomy.ganglia[np.ix_(*near)]
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


@pytest.mark.parametrize(("error", "ragged"), [(0.0, 0.35), (0.7, 0.0)])
def test_errors_roughen_the_outline_and_keep_the_size(anatomy: Anatomy, error: float, ragged: float) -> None:
    clean = segment(np.random.default_rng(1), anatomy, grids(THICK), error=0.0, ragged=0.0)
    rough = segment(np.random.default_rng(1), anatomy, grids(THICK), error=error, ragged=ragged)
    assert roughness(rough) > 1.05 * roughness(clean)
    assert rough.sum() == pytest.approx(clean.sum(), rel=0.08)
    assert 2 * (rough & clean).sum() / (rough.sum() + clean.sum()) > 0.85
