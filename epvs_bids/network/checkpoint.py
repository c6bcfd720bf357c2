"""Models on disk: weights as safetensors beside a `model.json` that says what they are; nothing is unpickled.

A single model is a directory with `model.safetensors` and `model.json`. An ensemble is a directory with an
`ensemble.json` and one sub-directory a model, `model-1`, `model-2`, …
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from epvs_bids import __version__
from epvs_bids.errors import BadDataError, MissingInputError
from epvs_bids.files import atomic_write, read_json, write_json
from epvs_bids.network.architecture import Architecture, RegressionNetwork, build_network
from epvs_bids.network.calibration import check_calibration

FORMAT_VERSION = 1
DEFAULT_MODEL = Path(str(files("epvs_bids") / "data" / "models" / "default"))
"""The model that ships with the package."""

_MEMBER = re.compile(r"model-\d+")
WEIGHTS, DESCRIPTION, ENSEMBLE = "model.safetensors", "model.json", "ensemble.json"


def software_versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"epvs_bids": __version__, "torch": torch.__version__, "python": platform.python_version()}


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What `model.json` says about a model.

    Parameters
    ----------
    architecture : Architecture
        Its layers.
    input_shape : tuple of int
        Voxels of the regions it was trained on.
    preprocessing : mapping
        How those regions were made, `epvs_bids.anatomy.roi.RoiParameters.to_dict()`.
    training : mapping
        Recipe, seeds, a summary of the training data.
    metrics : mapping
        What was measured, by name of the data it was measured on.
    calibration : mapping, optional
        From the network's output to a lab's own ratings: a line or a curve, see `network.calibration`.
    card : str
        What a user has to know first.
    versions : mapping
        Software that trained it.
    format_version : int
        Version of the file format.
    weights_sha256 : str
        Checksum of `model.safetensors`; set when the model is saved.
    """

    architecture: Architecture
    input_shape: tuple[int, int, int]
    preprocessing: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    card: str = ""
    versions: Mapping[str, str] = field(default_factory=software_versions)
    format_version: int = FORMAT_VERSION
    weights_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = json.loads(json.dumps({**asdict(self), "format_version": FORMAT_VERSION}))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelDescription:
        """Read what `to_dict` gave.

        Raises
        ------
        BadDataError
            A format of another version, or a field that is missing or unknown.
        """
        if values.get("format_version") != FORMAT_VERSION:
            raise BadDataError(
                f"format_version is {values.get('format_version')!r}; this version reads {FORMAT_VERSION}."
            )
        known = {item.name for item in fields(cls)}
        for names, problem in (
            (set(values) - known, "has fields that this version does not know"),
            ({"architecture", "input_shape", "preprocessing"} - set(values), "lacks fields"),
        ):
            if names:
                raise BadDataError(f"the description {problem}: {', '.join(sorted(names))}.")
        for name, kind in _KINDS.items():
            if not isinstance(values.get(name, kind()), kind):
                raise BadDataError(f"{name} is {values[name]!r:.60}; {_KIND_NAMES[kind]} is expected.")
        read = dict(values)
        read["architecture"] = Architecture.from_dict(values["architecture"])
        read["input_shape"] = _checked_shape(values["input_shape"])
        check_calibration(values.get("calibration"))
        return cls(**read)

    def check_preprocessing(self, preprocessing: Mapping[str, Any]) -> None:
        """Refuse regions that were made in another way than those the model was trained on.

        Raises
        ------
        BadDataError
            Names the first field that differs, with both values.
        """
        ours, theirs = _plain(self.preprocessing), _plain(preprocessing)
        for name in sorted({*ours, *theirs}):
            if ours.get(name) != theirs.get(name):
                raise BadDataError(
                    f"The region was made with {name} = {theirs.get(name)!r}; the model was trained with "
                    f"{ours.get(name)!r}. Run the participant level with --model, so that both agree."
                )


_KINDS: Mapping[str, type] = {
    "architecture": dict,
    "preprocessing": dict,
    "training": dict,
    "metrics": dict,
    "versions": dict,
    "card": str,
    "weights_sha256": str,
}
_KIND_NAMES: Mapping[type, str] = {dict: "an object", str: "a text"}
_LONGEST_AXIS = 2048


def _checked_shape(shape: object) -> tuple[int, int, int]:
    """Return the input shape that a file gives, or refuse it."""
    sizes = shape if isinstance(shape, list | tuple) else ()
    if len(sizes) == 3 and all(type(size) is int and 0 < size <= _LONGEST_AXIS for size in sizes):
        return (sizes[0], sizes[1], sizes[2])
    raise BadDataError(f"input_shape is {shape!r:.60}; three positive whole numbers are expected.")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they are after a turn through JSON."""
    result: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return result


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode on the CPU, what is known about it, and its name (its directory's)."""

    network: RegressionNetwork
    description: ModelDescription
    name: str


def save_model(directory: Path, network: RegressionNetwork, description: ModelDescription) -> None:
    """Write one model; readers see the old model or the new one (the checksum tells a mixture of both).

    An ensemble that was in the directory is one no longer.

    Parameters
    ----------
    directory : Path
        Created where missing.
    network : RegressionNetwork
        Its weights are written in float32.
    description : ModelDescription
        Its architecture and input shape have to be the network's.

    Raises
    ------
    CannotCreateError
        No permission, no space.
    """
    if (description.architecture, description.input_shape) != (network.architecture, network.input_shape):
        raise BadDataError(
            "The description of a model has another architecture or input shape than its network."
        )
    data = save_tensors(
        {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    )
    with atomic_write(directory / WEIGHTS) as temporary:
        temporary.write_bytes(data)
    content = description.to_dict() | {"weights_sha256": hashlib.sha256(data).hexdigest()}
    write_json(directory / DESCRIPTION, content)
    (directory / ENSEMBLE).unlink(missing_ok=True)


def save_ensemble(directory: Path, models: int) -> None:
    """Declare that `directory` holds an ensemble of `model-1` … `model-<models>`, which are there already.

    A single model that was there is removed.
    """
    write_json(
        directory / ENSEMBLE,
        {"format_version": FORMAT_VERSION, "models": [f"model-{index + 1}" for index in range(models)]},
    )
    for name in (DESCRIPTION, WEIGHTS):
        (directory / name).unlink(missing_ok=True)


def load_models(directory: Path) -> list[LoadedModel]:
    """Read a model or an ensemble.

    Parameters
    ----------
    directory : Path
        Of a single model or of an ensemble.

    Returns
    -------
    list of LoadedModel
        One, or the members of the ensemble in order.

    Raises
    ------
    MissingInputError
        No model there.
    BadDataError
        Files of another version, damaged, or that do not fit each other; the field is named.
    """
    directory = Path(directory)
    if (directory / ENSEMBLE).is_file():
        names = read_json(directory / ENSEMBLE).get("models")
        if not isinstance(names, list) or not names:
            raise BadDataError(f"{directory / ENSEMBLE}: the field models is missing or empty.")
        if not all(isinstance(name, str) and _MEMBER.fullmatch(name) for name in names):
            raise BadDataError(f"{directory / ENSEMBLE}: models has names other than model-1, model-2 …")
        models = [_load_one(directory / name) for name in names]
        _check_members(directory, models)
        return models
    if not (directory / DESCRIPTION).is_file():
        raise MissingInputError(
            f"{directory} holds no model (no {DESCRIPTION} or {ENSEMBLE}). "
            "A model is what `group --analysis train` leaves in output_dir/models/NAME."
        )
    return [_load_one(directory)]


def _check_members(directory: Path, models: Sequence[LoadedModel]) -> None:
    """Members of an ensemble have to see the same regions."""
    for model in models[1:]:
        try:
            model.description.check_preprocessing(models[0].description.preprocessing)
        except BadDataError as error:
            raise BadDataError(f"{directory}: {model.name} and {models[0].name} differ. {error}") from error


def _load_one(directory: Path) -> LoadedModel:
    path = directory / DESCRIPTION
    try:
        description = ModelDescription.from_dict(read_json(path))
    except BadDataError as error:
        raise BadDataError(f"{path}: {error}") from error
    weights = read_weights(directory, description.weights_sha256)
    try:
        with torch.device("meta"):  # takes no memory: the file's weights bound what is built below
            shape = build_network(description.architecture, description.input_shape)
    except (BadDataError, RuntimeError, OverflowError) as error:
        raise BadDataError(f"{path}: {error}") from error
    _check_weights(shape.state_dict(), weights, directory / WEIGHTS)
    network = build_network(description.architecture, description.input_shape)
    network.load_state_dict(weights)
    return LoadedModel(network.eval(), description, directory.name)


def read_weights(directory: Path, sha256: str) -> dict[str, Tensor]:
    """Read `model.safetensors` of a directory, checked against a SHA-256 unless that is empty.

    Raises
    ------
    MissingInputError, BadDataError
        Not there; damaged.
    """
    path = directory / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"{path} can't be read ({error.strerror}).") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise BadDataError(f"{path} is not the file that {DESCRIPTION} describes: damaged, or half replaced.")
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise BadDataError(f"{path} is no safetensors file ({error}).") from error


def _check_weights(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: Path) -> None:
    """Name the first weight that does not fit."""
    for name, tensor in expected.items():
        if name not in weights:
            raise BadDataError(
                f"{path} lacks {name}: it belongs to another architecture than {DESCRIPTION} says."
            )
        if weights[name].shape != tensor.shape:
            raise BadDataError(
                f"{path}: {name} is {tuple(weights[name].shape)}, the architecture of {DESCRIPTION} has "
                f"{tuple(tensor.shape)}."
            )
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise BadDataError(f"{path} has {unknown[0]}, which the architecture of {DESCRIPTION} does not.")
