"""Initialisation, losses, augmentation and division of scans."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from networks import COUNTING
from scipy import ndimage

from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.augmentation import Augmentation, rotation_matrix, transform
from epvs_bids.network.initialisation import initialise, start_at_mean
from epvs_bids.network.losses import LOSSES, TUKEY_CUT


def test_gaussian_weights_have_the_recipes_spread() -> None:
    network = build_network(Architecture(features=16, blocks=1, convolutions=2), (40, 40, 40))
    initialise(network, "gaussian", seed=3)
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
        elif weight.numel() > 5000:
            assert float(weight.detach().std()) == pytest.approx(0.05, rel=0.05)


def test_a_counting_network_starts_at_the_mean_score() -> None:
    torch.manual_seed(0)
    network = build_network(
        Architecture(channels=((4,), (8,)), head="sum", normalisation="batch"), (20, 18, 16)
    )
    initialise(network, "spots", seed=1)
    regions = [torch.rand(1, 1, 20, 18, 16) for _ in range(3)]
    start_at_mean(network, regions, 7.0)
    with torch.no_grad():
        scores = torch.cat([network(region) for region in regions])
    assert float(scores.mean()) == pytest.approx(7.0, rel=1e-4)


def test_initialisation_follows_the_seed() -> None:
    networks = [build_network(COUNTING, (40, 40, 40)) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialise(network, "spots", seed=seed)
    first, same, other = (network.state_dict()["blocks.1.0.convolution.weight"] for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", (1 + 4 + 100) / 3),
        ("mce", (1 + 8 + 1000) / 3),
        ("mqe", (1 + 16 + 10000) / 3),
        ("rmse", np.sqrt((1 + 4 + 100) / 3)),
    ],
)
def test_losses_of_table_3(name: str, expected: float) -> None:
    assert float(LOSSES[name](torch.tensor([1.0, -2.0, 10.0]))) == pytest.approx(expected)


def test_tukey_is_flat_for_outliers_and_square_near_zero() -> None:
    assert float(LOSSES["tukey"](torch.tensor([100.0]))) == pytest.approx(TUKEY_CUT**2 / 6)
    assert float(LOSSES["tukey"](torch.tensor([0.1]))) == pytest.approx(0.1**2 / 2, rel=1e-2)


def test_every_loss_has_a_finite_slope_without_error() -> None:
    for loss in LOSSES.values():
        error = torch.zeros(1, requires_grad=True)
        loss(error).backward()
        assert torch.isfinite(error.grad).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flip_is_exact(axis: int) -> None:
    region = torch.rand(1, 1, 9, 8, 7)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[axis, axis] = -1
    assert torch.equal(transform(region, matrix), region.flip(axis + 2))


def test_flips_drawn_without_rotation_are_exact() -> None:
    region = torch.rand(1, 1, 9, 8, 7)
    drawn = Augmentation(rotation=0.0, translation=0.0, flip_axes=("x", "y", "z"))
    generator = torch.Generator().manual_seed(1)
    ordered = region.flatten().sort().values
    for _ in range(8):
        moved = transform(region, drawn.draw(generator))
        assert torch.equal(moved.flatten().sort().values, ordered)


def test_transform_agrees_with_scipy() -> None:
    """Rotation and translation in voxels, on a region whose axes differ in length."""
    region = ndimage.gaussian_filter(np.random.default_rng(0).random((20, 16, 12)), 1.5)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = rotation_matrix([0.1, -0.15, 0.2])
    matrix[:3, 3] = torch.tensor([1.5, -0.7, 0.4])
    ours = transform(torch.from_numpy(region).float()[None, None], matrix)[0, 0].numpy()
    centre = (np.array(region.shape) - 1) / 2
    offset = centre + matrix[:3, 3].numpy() - matrix[:3, :3].numpy() @ centre
    theirs = ndimage.affine_transform(region, matrix[:3, :3].numpy(), offset, order=1, mode="constant")
    inside = (slice(4, -4),) * 3
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-4)


def test_rotations_keep_lengths() -> None:
    matrix = rotation_matrix([0.3, 0.2, -0.1])
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(matrix)) == pytest.approx(1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_turns_right_handed(axis: int) -> None:
    """A quarter turn about x, y or z brings the next axis to the one after it."""
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.pi / 2
    turned = rotation_matrix(angles)[:, (axis + 1) % 3].numpy()
    np.testing.assert_allclose(turned, np.eye(3)[(axis + 2) % 3], atol=1e-12)


def test_draws_stay_in_the_papers_ranges() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [Augmentation(flip_axes=("x",)).draw(generator) for _ in range(200)]
    shifts = torch.stack([draw[:3, 3] for draw in draws])
    assert 1.8 < float(shifts.abs().max()) <= 2.0
    handed = [float(torch.linalg.det(draw[:3, :3])) < 0 for draw in draws]
    assert 60 < sum(handed) < 140
    unflipped = [draw[:3, :3] for draw, flipped in zip(draws, handed, strict=True) if not flipped]
    assert (
        max(float(torch.arccos(((m.trace() - 1) / 2).clamp(-1, 1))) for m in unflipped) < 0.2 * 3**0.5 + 0.05
    )


@pytest.mark.parametrize("scaling", ["local", "robust"])
def test_spots_are_seen_before_training(scaling: Literal["local", "robust"]) -> None:
    architecture = Architecture(channels=((4, 4),), head="sum", scaling=scaling)
    network = build_network(architecture, (24, 24, 24)).eval()
    initialise(network, "spots", seed=1)
    region = torch.full((1, 1, 24, 24, 24), 0.5)
    region[..., 12, 12, 9:15] = 0.9
    with torch.no_grad():
        seen = network.detection_map(region)[0, 0]
    assert float(seen[12, 12, 9:15].min()) > 0.5
    assert float(seen[4:9, 4:20, 4:20].max()) < 0.05
