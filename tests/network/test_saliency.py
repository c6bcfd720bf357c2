"""Saliency against networks whose maps are known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import COUNTING
from torch import Tensor, nn

from epvs_bids.errors import UsageError
from epvs_bids.network import saliency as module
from epvs_bids.network.architecture import build_network
from epvs_bids.network.saliency import saliency, to_native

SHAPE = (24, 20, 16)


class Weighted(nn.Module):
    """score = Σ w·x: its gradient is w, everywhere and for any input."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights.astype(np.float32)))

    def forward(self, region: Tensor) -> Tensor:
        """Map (N, 1, X, Y, Z) to (N,)."""
        return (region[:, 0] * self.weights).sum(dim=(1, 2, 3))


@pytest.fixture
def region() -> np.ndarray:
    """A region with an empty rim, as regions have."""
    data = np.zeros(SHAPE, np.float32)
    data[3:-3, 3:-3, 3:-3] = np.random.default_rng(0).uniform(0.3, 0.8, (18, 14, 10))
    return data


def test_gradient_is_the_derivative(region: np.ndarray) -> None:
    weights = np.random.default_rng(1).normal(size=SHAPE)
    np.testing.assert_allclose(saliency(Weighted(weights), region), weights, rtol=1e-6)


def test_gradient_of_the_counting_network_agrees_with_finite_differences(region: np.ndarray) -> None:
    torch.manual_seed(0)
    network = build_network(replace(COUNTING, scaling="none"), SHAPE).eval()
    with torch.no_grad():
        network.head.bias.fill_(0.0)  # every cell half detected: far from where the sigmoid is flat
    result = saliency(network, region)
    assert result.shape == SHAPE
    assert result.dtype == np.float32
    norm = float(np.linalg.norm(result))
    step = 0.01
    ends = [torch.from_numpy(region + sign * step * result / norm)[None, None] for sign in (1, -1)]
    with torch.no_grad():
        slope = float(network(ends[0]) - network(ends[1])) / (2 * step)
    assert norm == pytest.approx(slope, rel=0.02)


def test_several_networks_are_averaged(region: np.ndarray) -> None:
    one, three = Weighted(np.ones(SHAPE)), Weighted(np.full(SHAPE, 3.0))
    np.testing.assert_allclose(saliency([one, three], region), 2.0, rtol=1e-6)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_mask_makes_it_the_derivative_by_the_scan(region: np.ndarray, method: str) -> None:
    weights = np.random.default_rng(1).normal(size=SHAPE)
    mask = np.linspace(0, 1, region.size, dtype=np.float32).reshape(SHAPE)
    masked = saliency(Weighted(weights), region, method, mask=mask)
    np.testing.assert_allclose(masked, saliency(Weighted(weights), region, method) * mask, rtol=1e-6)


def test_smoothgrad_is_reproducible_and_silent_outside_the_mask(region: np.ndarray) -> None:
    class Squared(Weighted):
        """score = Σ w·x²: its gradient 2·w·x depends on the input, so that noise shows."""

        def forward(self, region: Tensor) -> Tensor:
            """Map (N, 1, X, Y, Z) to (N,)."""
            return super().forward(region**2)

    network = Squared(np.ones(SHAPE))
    state = torch.random.get_rng_state()
    first, again = (saliency(network, region, "smoothgrad", seed=3) for _ in range(2))
    other = saliency(network, region, "smoothgrad", seed=4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not first[region == 0].any()
    error = np.abs(first - 2 * region)[region > 0]
    assert 0 < error.mean() < 3 * module.NOISE * 2 / np.sqrt(module.SAMPLES)


def test_occlusion_finds_the_block_that_carries_the_score(
    region: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    weights = np.zeros(SHAPE)
    weights[8:16, 8:16, 0:8] = 1.0  # one block of the grid
    region[8:16, 8:16, 3:8] += 0.2
    fall = saliency(Weighted(weights), region, "occlusion")
    expected = float((region - region[region > 0].mean())[8:16, 8:16, 3:8].sum())
    np.testing.assert_allclose(fall[10, 10, 5], expected, rtol=1e-3)
    assert np.abs(fall[:8]).max() < 1e-3
    assert not fall[region == 0].any()
    assert not saliency(Weighted(weights), np.zeros(SHAPE, np.float32), "occlusion").any()
    mask = np.zeros(SHAPE, np.float32)
    mask[9:15, 9:15, 4:7] = 0.8
    inner = saliency(Weighted(weights), region, "occlusion", mask=mask)
    assert not inner[mask == 0].any()
    expected = float((region - region[mask > 0].mean())[mask > 0].sum())
    assert inner[mask > 0] == pytest.approx(expected, abs=1e-4)


def test_unknown_method_is_a_usage_error(region: np.ndarray) -> None:
    with pytest.raises(UsageError, match="gradcam"):
        saliency(Weighted(np.ones(SHAPE)), region, "gradcam")  # type: ignore[arg-type]


def _rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = (5, -3, 2)
    return matrix


def test_native_map_lies_where_the_transform_says() -> None:
    volume = np.zeros((40, 40, 40), np.float32)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = -10
    volume[28, 12, 22] = 8.0
    volume = module.ndimage.gaussian_filter(volume, 2)
    native_affine = np.diag([-0.8, 0.7, 1.2, 1.0])  # flipped left–right
    native_affine[:3, 3] = (40, -40, -40)
    transform = _rotation(15)
    native = to_native(volume, affine, transform, shape=(100, 110, 70), native_affine=native_affine)
    peak = native_affine @ [*module.ndimage.center_of_mass(native), 1]
    expected = transform @ affine @ [28, 12, 22, 1]
    np.testing.assert_allclose(peak, expected, atol=0.05)
    # Values are interpolated, not summed: the peak stays what it was, up to the coarser grid.
    assert 0.6 * volume.max() < native.max() <= volume.max()


def test_native_map_of_a_scan_that_misses_the_region_is_empty() -> None:
    volume = np.ones((8, 8, 8), np.float32)
    far = np.eye(4)
    far[:3, 3] = 500
    assert not to_native(volume, np.eye(4), far, shape=(20, 20, 20), native_affine=np.eye(4)).any()
