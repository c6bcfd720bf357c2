"""Random damage to everything that is read: the answer is a value or an error for the user, no other."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from epvs_bids.analyses.tables import read_participants, read_ratings
from epvs_bids.anatomy.images import load_volume
from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.bids.filters import QUERIES, read_filters
from epvs_bids.bids.query import find_scans
from epvs_bids.errors import EPVSError
from epvs_bids.files import read_json, read_tsv
from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.checkpoint import ModelDescription, load_models, save_model

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=6,
)


def survives(function: Callable[..., object], *arguments: object, **keywords: object) -> None:
    """Call; an error for the user is an answer too."""
    with contextlib.suppress(EPVSError):
        function(*arguments, **keywords)


@pytest.fixture(scope="module")
def image_bytes() -> bytes:
    data = np.random.default_rng(1).integers(0, 900, (12, 10, 9)).astype(np.int16)
    return nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    architecture = Architecture(features=2, blocks=1, convolutions=1, dense=(4,))
    shape = (12, 8, 8)
    description = ModelDescription(
        architecture=architecture, input_shape=shape, preprocessing={"voxel_size": 0.5}
    )
    save_model(folder, build_network(architecture, shape), description)
    return folder


@pytest.mark.fault("Headers with random bytes", says="", code=65, keeps="the other participants' results")
@FUZZ
@given(damage=st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=12))
@example(damage={42: 255, 43: 127, 44: 255, 45: 127, 46: 255, 47: 127})  # a matrix of 32767³
@example(damage={70: 0, 71: 0})  # no data type
@example(damage={112: 255, 113: 255, 114: 255, 115: 255})  # a slope that is not a number
def test_random_headers(damage: dict[int, int], image_bytes: bytes, tmp_path: Path) -> None:
    content = bytearray(image_bytes)
    for position, value in damage.items():
        content[position] = value
    for name, written in (("scan.nii", bytes(content)), ("scan.nii.gz", gzip.compress(bytes(content), 1))):
        path = tmp_path / name
        path.write_bytes(written)
        survives(load_volume, path)


@pytest.mark.fault(
    "Files cut anywhere, or with bytes flipped anywhere",
    says="",
    code=65,
    keeps="the other participants' results",
)
@FUZZ
@given(cut=st.integers(0, 2600), flip=st.integers(0, 2600), value=st.integers(1, 255))
def test_damaged_gzip_is_always_noticed(
    cut: int, flip: int, value: int, image_bytes: bytes, tmp_path: Path
) -> None:
    whole = gzip.compress(image_bytes, 1, mtime=0)
    path = tmp_path / "scan.nii.gz"
    truncated = whole[: cut % len(whole)]
    flipped = bytearray(whole)
    flipped[10 + flip % (len(whole) - 10)] ^= (
        value  # the ten bytes before are the gzip header's name and time
    )
    for content in (truncated, bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(EPVSError):
            load_volume(path)


@pytest.mark.fault("Tables of random bytes or text", says="", code=65, keeps="nothing was begun")
@FUZZ
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.text("\t\n01na/.-\r\"' x").map(str.encode)
)
@example(content=b"participant_id\tage\nsub-01\t89+\n")
@example(content=b"participant_id\trater\n../../x\t1\n")
@example(content=b"\xef\xbb\xbfparticipant_id\trater\r\nsub-01\t1e400\r\n")
def test_random_tables(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    for written in (content, b"participant_id\trater\n" + content):
        path.write_bytes(written)
        survives(read_tsv, path)
        survives(read_participants, path)
        survives(read_ratings, path, known=frozenset({"sub-01"}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["table.tsv"]


@pytest.mark.fault("Filter files of random JSON", says="", code=65, keeps="nothing was begun")
@settings(FUZZ, max_examples=15)
@given(
    content=JSON,
    entity=st.sampled_from(["run", "acquisition", "session", "suffix", "EchoTime", "nonsense", "scope"]),
)
def test_random_filters(content: Any, entity: str, tmp_path: Path, bare_data_set: Path) -> None:  # noqa: ANN401
    path = tmp_path / "filters.json"
    for written in (content, {"pdw": content}):
        path.write_text(json.dumps(written))
        survives(read_filters, path)
    path.write_text(json.dumps({"pdw": {entity: content}}))
    survives(lambda: find_scans(bare_data_set, filters=read_filters(path)))
    assert sorted(file.name for file in bare_data_set.iterdir()) == ["dataset_description.json", "sub-01"]


@pytest.fixture(scope="module")
def bare_data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bids")
    (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (folder / "sub-01/anat").mkdir(parents=True)
    (folder / "sub-01/anat/sub-01_PDw.nii.gz").touch()
    assert find_scans(folder, filters=QUERIES).scans
    return folder


@pytest.mark.fault("Model descriptions with random values", says="", code=65, keeps="nothing was begun")
@FUZZ
@given(
    field=st.sampled_from(
        [
            "architecture",
            "input_shape",
            "preprocessing",
            "format_version",
            "calibration",
            "weights_sha256",
            "metrics",
        ]
    ),
    inner=st.sampled_from(
        [
            "features",
            "blocks",
            "convolutions",
            "dense",
            "head",
            "channels",
            "dilations",
            "shape",
            "sigma",
            "intensity",
        ]
    ),
    value=JSON,
)
@example(field="input_shape", inner="blocks", value=5)
@example(field="input_shape", inner="blocks", value=[2**20, 2**20, 2**20])
@example(field="architecture", inner="features", value=2**40)
@example(field="architecture", inner="channels", value=[])
@example(field="architecture", inner="channels", value=[[]])
@example(field="weights_sha256", inner="dense", value=None)
def test_random_model_json(field: str, inner: str, value: Any, model: Path, tmp_path: Path) -> None:  # noqa: ANN401
    folder = tmp_path / "model"
    shutil.copytree(model, folder, dirs_exist_ok=True)
    sound = json.loads((model / "model.json").read_text())
    architecture = sound["architecture"] | {inner: value}
    for changed in ({field: value}, {"architecture": architecture}, {inner: value}):
        (folder / "model.json").write_text(json.dumps(sound | changed))
        survives(load_models, folder)
    for changed in (value, {inner: value}):
        if isinstance(changed, dict):
            survives(RoiParameters.from_dict, changed)


@pytest.mark.fault("Model weights with flipped bytes", says="", code=65, keeps="nothing was begun")
@FUZZ
@given(position=st.integers(0, 10**6), value=st.integers(1, 255), checked=st.booleans())
def test_flipped_weights(position: int, value: int, checked: bool, model: Path, tmp_path: Path) -> None:
    """With the checksum every change is noticed; without it, still no traceback."""
    folder = tmp_path / "model"
    shutil.copytree(model, folder, dirs_exist_ok=True)
    content = bytearray((model / "model.safetensors").read_bytes())
    content[position % len(content)] ^= value
    (folder / "model.safetensors").write_bytes(bytes(content))
    if checked:
        with pytest.raises(EPVSError):
            load_models(folder)
    else:
        description = read_json(folder / "model.json") | {"weights_sha256": ""}
        (folder / "model.json").write_text(json.dumps(description))
        survives(load_models, folder)


@pytest.mark.fault(
    "An ensemble whose members lie elsewhere",
    says="models has names other than",
    code=65,
    keeps="nothing was begun",
)
@pytest.mark.parametrize("name", ["../model", "/etc", "model-1/../../model", "", ".", 5, None])
def test_ensembles_stay_in_their_folder(name: object, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "ensemble").mkdir()
    (tmp_path / "ensemble/ensemble.json").write_text(json.dumps({"format_version": 1, "models": [name]}))
    with pytest.raises(EPVSError, match=r"ensemble\.json"):
        load_models(tmp_path / "ensemble")
