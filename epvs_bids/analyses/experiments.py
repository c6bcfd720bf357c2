"""Trainings that are compared: each has a result file of its own, so that they can be spread and resumed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids.analyses.agreement import MEASURES
from epvs_bids.errors import UsageError
from epvs_bids.files import read_json, write_json
from epvs_bids.network.checkpoint import LoadedModel
from epvs_bids.network.device import choose_device
from epvs_bids.network.distributed import worker_device, workers
from epvs_bids.network.fit import TrainingSet, fit_model
from epvs_bids.network.options import TrainingOptions
from epvs_bids.network.state import as_plain
from epvs_bids.statistics.agreement import agreement

INTERVALS = ("icc11", "icc21", "icc31")

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training and what it is measured on.

    Parameters
    ----------
    labels : mapping
        What tells it from the others; columns of the table.
    parts : ndarray of str
        (n,) of ``train``, ``validation``, ``test``.
    options : TrainingOptions
        How it is trained.
    """

    labels: Mapping[str, str | int]
    parts: NDArray[np.str_]
    options: TrainingOptions


def run_experiments(
    experiments: Sequence[Experiment],
    data: TrainingSet,
    folder: Path,
    *,
    source: LoadedModel | None,
    device: str,
    only: int | None,
) -> pd.DataFrame:
    """Run those experiments that have no result yet, and tabulate all that have one.

    Parameters
    ----------
    experiments : sequence of Experiment
        In a fixed order: the place of each is its `--run-index`.
    data : TrainingSet
        Of all.
    folder : Path
        Gets `run-<index>/` with the model of each, and `run-<index>.json` with its result. One that was
        killed is resumed, unless data or options changed since.
    source : LoadedModel, optional
        The model that each starts from.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    only : int, optional
        Run only this one.

    Returns
    -------
    DataFrame
        One row an experiment with a result: `run`, its labels, numbers of scans, `status`, the measures.

    Raises
    ------
    UsageError
        `only` is not an experiment.
    """
    if only is not None and only >= len(experiments):
        raise UsageError(f"--run-index {only}: the runs are 0 to {len(experiments) - 1}.")
    wanted = range(len(experiments)) if only is None else [only]
    for index in wanted:
        _ensure(index, experiments[index], data, folder, source=source, device=device)
    rows = []
    for index, experiment in enumerate(experiments):
        result = _result(folder, index, experiment, data, source)
        if result is not None:
            rows.append({"run": index, **experiment.labels, **result})
    return pd.DataFrame(rows)


def _result_path(folder: Path, index: int) -> Path:
    return folder / f"run-{index:03d}.json"


def _facts(experiment: Experiment, data: TrainingSet, source: LoadedModel | None) -> dict[str, Any]:
    """Everything that a result depends on; another one asks for a new run."""
    return {
        "options": as_plain(experiment.options),
        "parts": experiment.parts.tolist(),
        "scores": data.scores.tolist(),
        "regions": data.store.sha256,
        "init_from": source.description.weights_sha256 if source else None,
    }


def _result(
    folder: Path, index: int, experiment: Experiment, data: TrainingSet, source: LoadedModel | None
) -> dict[str, Any] | None:
    """Read a result that is there and still holds."""
    path = _result_path(folder, index)
    if not path.is_file():
        return None
    content = read_json(path)
    return content["result"] if content.get("facts") == _facts(experiment, data, source) else None


def _ensure(
    index: int,
    experiment: Experiment,
    data: TrainingSet,
    folder: Path,
    *,
    source: LoadedModel | None,
    device: str,
) -> None:
    """Run an experiment unless its result is there."""
    if _result(folder, index, experiment, data, source) is not None:
        return
    labels = ", ".join(f"{name} {value}" for name, value in experiment.labels.items())
    LOGGER.info("Run %d: %s", index, labels)
    facts = _facts(experiment, data, source)
    begun = folder / f"run-{index:03d}" / "run.json"
    with workers() as together:
        resume = begun.is_file() and read_json(begun) == facts
        together.wait()
        if together.leads:
            write_json(begun, facts)
        fitted = fit_model(
            data,
            experiment.parts,
            experiment.options,
            folder / f"run-{index:03d}",
            device=worker_device(choose_device(device)),
            workers=together,
            source=source,
            resume=resume,
        )
        if together.leads:
            result = _measure(data, experiment, fitted.predictions)
            write_json(_result_path(folder, index), {"result": result, "facts": facts})
        together.wait()


def _measure(data: TrainingSet, experiment: Experiment, predicted: NDArray[np.float64]) -> dict[str, Any]:
    """Compare the predictions of the test scans with their visual scores."""
    test = experiment.parts == "test"
    counts = {f"n_{part}": int((experiment.parts == part).sum()) for part in ("train", "validation", "test")}
    if not np.isfinite(predicted[test]).all() or np.ptp(predicted[test]) == 0:
        return {**counts, "status": "did not converge", **dict.fromkeys(MEASURES)}
    result = agreement(data.scores[test], predicted[test], draws=10)
    estimates = {name: getattr(result, name) for name in MEASURES}
    values = {name: float(estimate.value) for name, estimate in estimates.items()}
    for name in INTERVALS:  # those without resampling
        values |= estimates[name].columns(name)
    known = {name: value if np.isfinite(value) else None for name, value in values.items()}
    return {**counts, "status": "done", **known}
