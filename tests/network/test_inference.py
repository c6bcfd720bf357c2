"""Scores of regions: calibrated, averaged, the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import COUNTING

from epvs_bids.errors import BadDataError
from epvs_bids.network import inference
from epvs_bids.network.architecture import build_network
from epvs_bids.network.checkpoint import LoadedModel, ModelDescription

SHAPE = (40, 36, 32)


def model(seed: int, **changes: object) -> LoadedModel:
    torch.manual_seed(seed)
    network = build_network(COUNTING, SHAPE)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            layer.bias.data.normal_()
    description = ModelDescription(architecture=COUNTING, input_shape=SHAPE, preprocessing={})
    return LoadedModel(network.eval(), replace(description, **changes), f"model-{seed}")


@pytest.fixture(scope="module")
def roi() -> np.ndarray:
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def test_folding_the_normalisation_keeps_the_score(roi: np.ndarray) -> None:
    trained = model(1)
    with torch.no_grad():
        expected = float(trained.network(torch.from_numpy(roi)[None, None]))
    assert inference.score(roi, [trained], device="cpu").score == pytest.approx(expected, rel=1e-5)
    assert any(isinstance(layer, torch.nn.BatchNorm3d) for layer in trained.network.modules())


def test_same_input_same_score_bit_for_bit(roi: np.ndarray) -> None:
    trained = model(1)
    scores = {inference.score(roi, [trained], device="cpu", threads=2).score for _ in range(3)}
    assert len(scores) == 1


def test_ensembles_give_mean_and_spread(roi: np.ndarray) -> None:
    members = [model(1), model(2), model(3)]
    result = inference.score(roi, members, device="cpu")
    single = [inference.score(roi, [member], device="cpu") for member in members]
    assert result.per_model == [one.score for one in single]
    assert result.score == pytest.approx(np.mean(result.per_model))
    assert result.score_sd == pytest.approx(np.std(result.per_model, ddof=1))
    assert np.isnan(single[0].score_sd)


def test_calibration_is_applied(roi: np.ndarray) -> None:
    plain = inference.score(roi, [model(1)], device="cpu").score
    line = {"slope": 0.5, "intercept": 3.0}
    assert inference.score(roi, [model(1, calibration=line)], device="cpu").score == 0.5 * plain + 3.0
    curve = {"scores": [plain - 1, plain + 3], "ratings": [2.0, 10.0]}
    assert inference.score(roi, [model(1, calibration=curve)], device="cpu").score == pytest.approx(4)


def test_regions_that_the_model_does_not_know_are_refused(roi: np.ndarray) -> None:
    with pytest.raises(BadDataError, match=r"input_shape \(40, 36, 32\)"):
        inference.score(roi[:30], [model(1)], device="cpu")
    with pytest.raises(BadDataError, match="not finite"):
        inference.score(np.full(SHAPE, np.nan, dtype=np.float32), [model(1)], device="cpu")
