"""Models on disk: what is written is read back, and what does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from epvs_bids.errors import BadDataError, MissingInputError
from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.checkpoint import (
    ModelDescription,
    load_models,
    save_ensemble,
    save_model,
)

SHAPE = (20, 18, 16)
SMALL = Architecture(features=2, blocks=1, convolutions=1, dense=(4,), normalisation="batch")
DESCRIPTION = ModelDescription(
    architecture=SMALL,
    input_shape=SHAPE,
    preprocessing={"voxel_size": 0.5, "shape": SHAPE},
    calibration={"slope": 2.0, "intercept": 1.0},
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", build_network(SMALL, SHAPE), DESCRIPTION)
    return tmp_path / "m"


def edit(model: Path, **changes: object) -> None:
    path = model / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network = build_network(SMALL, SHAPE)
    save_model(tmp_path, network, DESCRIPTION)
    (loaded,) = load_models(tmp_path)
    assert not loaded.network.training
    assert loaded.description.preprocessing == {"voxel_size": 0.5, "shape": list(SHAPE)}
    assert loaded.description.calibration == DESCRIPTION.calibration
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor, rtol=0, atol=0)


def test_curve_of_a_calibration_is_loaded(model: Path) -> None:
    curve = {"scores": [0.0, 2.5], "ratings": [1, 7.0]}
    edit(model, calibration=curve)
    assert load_models(model)[0].description.calibration == curve


def test_ensemble_members_come_in_order_and_have_to_agree(tmp_path: Path) -> None:
    for index in range(2):
        save_model(tmp_path / f"model-{index + 1}", build_network(SMALL, SHAPE), DESCRIPTION)
    save_ensemble(tmp_path, 2)
    assert [member.name for member in load_models(tmp_path)] == ["model-1", "model-2"]
    other = replace(DESCRIPTION, preprocessing={"voxel_size": 1.0, "shape": SHAPE})
    save_model(tmp_path / "model-2", build_network(SMALL, SHAPE), other)
    with pytest.raises(BadDataError, match="voxel_size"):
        load_models(tmp_path)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="holds no model"):
        load_models(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format_version is 99"),
        ({"mood": "good"}, "mood"),
        ({"input_shape": [20, 18]}, "input_shape"),
        ({"calibration": {"slope": 1.0}}, "calibration is"),
        ({"calibration": {"slope": float("nan"), "intercept": 0}}, "calibration is"),
        ({"calibration": {"scores": [1.0, 1.0], "ratings": [0.0, 2.0]}}, "calibration is"),
        ({"calibration": {"scores": [1.0, 2.0], "ratings": [3.0, 2.0]}}, "calibration is"),
        ({"calibration": {"scores": [1.0, 10**400], "ratings": [0, 2.0]}}, "calibration is"),
        ({"architecture": {**SMALL.to_dict(), "dense": [5]}}, r"head.layers.0.weight is \(4, "),
        ({"architecture": {**SMALL.to_dict(), "convolutions": 2}}, "lacks blocks.0.1.convolution.weight"),
        ({"architecture": {**SMALL.to_dict(), "normalisation": "none"}}, "has blocks.0.0.normalisation"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_field(model: Path, changes: dict, message: str) -> None:
    edit(model, **changes)
    with pytest.raises(BadDataError, match=message):
        load_models(model)


def test_missing_field_is_named(model: Path) -> None:
    path = model / "model.json"
    values = json.loads(path.read_text())
    del values["preprocessing"]
    path.write_text(json.dumps(values))
    with pytest.raises(BadDataError, match="lacks fields: preprocessing"):
        load_models(model)


def test_damaged_weights_are_told(model: Path) -> None:
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(BadDataError, match="damaged"):
        load_models(model)


def test_preprocessing_that_differs_is_named() -> None:
    DESCRIPTION.check_preprocessing({"voxel_size": 0.5, "shape": list(SHAPE)})
    with pytest.raises(BadDataError, match=r"voxel_size = 1\.0; the model was trained with 0\.5"):
        DESCRIPTION.check_preprocessing({"voxel_size": 1.0, "shape": list(SHAPE)})
