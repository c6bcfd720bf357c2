"""The state of a training run on disk: what a run that was killed needs to go on exactly where it was."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from epvs_bids.errors import BadDataError
from epvs_bids.files import atomic_write, write_text

HISTORY_COLUMNS = ("epoch", "training_loss", "validation_loss", "validation_icc", "learning_rate", "seconds")


_FORMAT = 1
"""Of the file; another version of the app that writes other fields writes another number."""


@dataclass
class TrainingState:
    """Where a run is after an epoch.

    The order of the scans and their augmentation are functions of the seed and the epoch, so that `epoch` is
    the state of the sampler and of the generators.

    Parameters
    ----------
    epoch : int
        Epochs done.
    weights, optimiser, scaler : dict
        States of the network, the optimiser and the gradient scaler of half precision.
    best_weights : dict
        Weights of the epoch with the smallest validation loss.
    best_epoch : int
        That epoch; 0 before any.
    best_loss : float
        Its validation loss.
    history : list of list of float
        Rows of `HISTORY_COLUMNS`.
    stopped : str
        Why training ended; empty while it has not.
    """

    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[list[float]] = field(default_factory=list)
    stopped: str = ""


def save_state(path: Path, state: TrainingState, options: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all, with the options and data it belongs to."""
    buffer = io.BytesIO()
    content = {name: getattr(state, name) for name in state.__dataclass_fields__}
    words = json.dumps(options, sort_keys=True)
    torch.save({"format": _FORMAT, "state": content, "options": words}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_state(path: Path, options: Mapping[str, Any]) -> TrainingState:
    """Read a state.

    Raises
    ------
    BadDataError
        The file is damaged, of another version, or of a run with other options or data; names the option.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise BadDataError(f"{path} can't be read ({error}); remove it to start again.") from error
    written = content.get("format", _FORMAT) if isinstance(content, dict) else None
    if written != _FORMAT:
        raise BadDataError(
            f"{path} is a checkpoint of another version of the app (format {written!r}, this one reads "
            f"{_FORMAT}): resume with that version, or leave --resume out to start again."
        )
    try:
        state, then = TrainingState(**content["state"]), json.loads(content["options"])
    except Exception as error:
        raise BadDataError(f"{path} can't be read ({error}); remove it to start again.") from error
    now = json.loads(json.dumps(options))
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            raise BadDataError(
                f"{path} is of a run with {name} = {then.get(name)!r:.80}, this one has "
                f"{now.get(name)!r:.80}: give the same options to resume, or leave --resume out to start "
                "again."
            )
    return state


def write_history(path: Path, history: Sequence[Sequence[float]]) -> None:
    """Write the rows of `HISTORY_COLUMNS` as CSV."""
    lines = [",".join(HISTORY_COLUMNS)]
    lines += [
        ",".join(f"{value:g}" if column else f"{value:.0f}" for column, value in enumerate(row))
        for row in history
    ]
    write_text(path, "\n".join(lines) + "\n")


def as_plain(options: object) -> dict[str, Any]:
    """Turn a dataclass of plain values into a dictionary that JSON can hold."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(options)))  # type: ignore[call-overload]
    return values
