"""The line from detection maps to a lab's scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from epvs_bids.errors import BadDataError
from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.data import RegionStore
from epvs_bids.network.initialisation import initialise
from epvs_bids.network.readout import apply_readout, column_sums, fit_readout, install_readout


def simulated(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of two maps at 12 heights; the rater counts around height 4 only."""
    rng = np.random.default_rng(seed)
    density = np.exp(-(((np.arange(12) - 5) / 3) ** 2))
    epvs = rng.poisson(rng.gamma(1.0, 8, count)[:, None] * density / density.sum())
    sums = np.stack([8.0 * epvs, rng.gamma(5.0, 1.0, (count, 12))], axis=1)
    seen = epvs[:, 3:6].sum(axis=1)
    return sums, seen + 1.0, np.clip(seen + 1 + rng.normal(0, 0.5, count), 0, None)


def test_heights_that_the_rater_looked_at_are_found() -> None:
    sums, _, scores = simulated(200, 1)
    fitted = fit_readout(sums, scores, knots=6)
    assert np.argmax(fitted.weights[0]) in (1, 2)
    test, truth, _ = simulated(300, 2)
    errors = [
        np.mean((apply_readout(test, fit_readout(sums, scores, knots=knots)) - truth) ** 2)
        for knots in (1, 6)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_left_out_predictions_are_those_of_refits() -> None:
    sums, _, scores = simulated(15, 3)
    fitted = fit_readout(sums[:, :1], scores, knots=1)
    for index in range(3):
        rest = np.delete(np.arange(15), index)
        again = fit_readout(sums[rest, :1], scores[rest], knots=1)
        assert fitted.left_out[index] == pytest.approx(apply_readout(sums[index : index + 1, :1], again)[0])


def test_noise_maps_do_not_hurt_a_small_set() -> None:
    """With 25 scans the penalty keeps the fit near the plain sum."""
    errors = []
    test, truth, _ = simulated(300, 99)
    for seed in range(10):
        sums, _, scores = simulated(25, seed)
        plain = apply_readout(test[:, :1], fit_readout(sums[:, :1], scores, knots=1))
        full = apply_readout(test, fit_readout(sums, scores, knots=6))
        errors.append((np.mean((plain - truth) ** 2), np.mean((full - truth) ** 2)))
    assert np.mean([full for _, full in errors]) < 1.1 * np.mean([plain for plain, _ in errors])


def test_network_with_the_line_gives_what_the_line_gives(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path
) -> None:
    store, scores = spotted
    architecture = Architecture(channels=((3,), (4,)), head="sum", maps=2, profile=3, normalisation="batch")
    network = build_network(architecture, store.shape)
    initialise(network, "spots", seed=1)
    network.eval()
    sums = column_sums(network, store, device=torch.device("cpu"))
    assert sums.shape == (24, 2, 8)
    fitted = fit_readout(sums, scores, knots=3)
    install_readout(network, fitted)
    with torch.no_grad():
        direct = [float(network(store.region(index).float())) for index in range(5)]
    np.testing.assert_allclose(direct, apply_readout(sums, fitted)[:5], rtol=1e-3, atol=1e-3)
    cached = column_sums(network, store, device=torch.device("cpu"))
    np.testing.assert_array_equal(cached, sums)


def test_maps_that_say_nothing_are_refused() -> None:
    with pytest.raises(BadDataError, match="detects the same in every scan"):
        fit_readout(np.ones((12, 1, 5)), np.arange(12.0), knots=2)


def test_a_participants_scans_are_left_out_together() -> None:
    sums, _, scores = simulated(15, 3)
    people = [f"sub-{index // 3}" for index in range(15)]
    fitted = fit_readout(sums[:, :1], scores, knots=1, participants=people)
    rest = np.arange(3, 15)
    again = fit_readout(sums[rest, :1], scores[rest], knots=1, participants=people[3:])
    assert fitted.left_out[:3] == pytest.approx(apply_readout(sums[:3, :1], again))
