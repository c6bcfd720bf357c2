"""`hyperparameters`: named configurations on one split (section 3.6, Table 3 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.experiments import Experiment, run_experiments
from epvs_bids.analyses.options import TrainingSettings
from epvs_bids.analyses.rated_regions import (
    CHANGES,
    rated_regions,
    source_model,
    training_options,
    training_set,
)
from epvs_bids.analyses.train import draw_parts, write_split
from epvs_bids.errors import BadDataError, CannotRun, MissingInputError, UsageError
from epvs_bids.network.checkpoint import LoadedModel
from epvs_bids.network.fit import TrainingSet
from epvs_bids.statistics.splitting import PAPER_SHARES

NAME = "hyperparameters"

TABLE_3 = Path(str(files("epvs_bids") / "data" / "hyperparameters.yml"))
"""The configurations of the paper's Table 3."""
KNOWN = (*CHANGES, "recipe", "registration", "paper_icc", "paper_mse")

DESCRIPTIONS: dict[str, Description] = {
    "run": {"Description": "What --run-index calls this run"},
    "configuration": {"Description": "Name of the configuration"},
    "n_train": {"Description": "Scans that the weights were learned from"},
    "n_validation": {"Description": "Scans that decided which epoch is kept"},
    "n_test": {"Description": "Scans that the measures are of"},
    "status": {"Description": "Whether the network learned anything"},
    "paper_icc": {"Description": "ICC in Table 3 of the paper"},
    "paper_mse": {"Description": "Mean squared error in Table 3 of the paper", "Units": "EPVS²"},
}


def run(study: Study) -> AnalysisResult:
    """Train every configuration on one shared split; with `run_index`, one of them."""
    configurations = read_configurations(study.training.configurations or TABLE_3)
    validation, test = _shares(study.training)
    rated = rated_regions(study)
    torch.set_num_threads(study.options.threads)
    data = training_set(rated, study.new_model)
    parts = draw_parts(data, validation=validation, test=test, seed=study.options.seed)
    folder = study.new_model / NAME
    write_split(folder, rated, parts)
    source = source_model(study.training.init_from)
    experiments, notes = _experiments(study, configurations, data, parts, source)
    table = run_experiments(
        experiments,
        data,
        folder,
        source=source,
        device=study.options.device,
        only=study.training.run_index,
    )
    if table.empty:
        raise CannotRun("no configuration has been trained yet")
    for column in ("paper_icc", "paper_mse"):
        table[column] = [configurations[name].get(column) for name in table["configuration"]]
    icc = pd.to_numeric(table.set_index("configuration")["icc11"]).dropna()
    best = f"the best ICC(1,1) is {icc.max():.2f}, of {icc.idxmax()}" if len(icc) else "none converged"
    return AnalysisResult(
        name=NAME,
        tables={"": table},
        descriptions=DESCRIPTIONS,
        summary=f"{len(table)} configurations on one split; {best}.",
        numbers={f"icc11_{name}": float(value) for name, value in icc.items()},
        notes=(*rated.notes, *notes),
    )


def _shares(training: TrainingSettings) -> tuple[float, float]:
    """Shares of the validation and of the test scans: the paper's, unless others are asked for."""
    validation, test = training.validation_fraction, training.test_fraction
    for option, share in (("--validation-fraction", validation), ("--test-fraction", test)):
        if share == 0:
            raise UsageError(f"{option} 0: configurations are compared on scans that are left out.")
    return validation or PAPER_SHARES["validation"], test or PAPER_SHARES["test"]


def _experiments(
    study: Study,
    configurations: Mapping[str, Mapping[str, Any]],
    data: TrainingSet,
    parts: NDArray[np.str_],
    source: LoadedModel | None,
) -> tuple[list[Experiment], list[str]]:
    """List the experiments that these regions allow, and say which they do not."""
    registered = bool(data.preprocessing.get("registration", True))
    experiments, notes = [], []
    for name, values in configurations.items():
        if bool(values.get("registration", True)) != registered:
            how = "without" if registered else "with"
            notes.append(f"{name}: needs regions made {how} registration to MNI space, left out")
            continue
        changes = {key: values[key] for key in (*CHANGES, "recipe") if key in values}
        try:
            options = training_options(study, source, **changes)
        except UsageError as error:
            notes.append(f"{name}, left out: {error}")
            continue
        experiments.append(Experiment(labels={"configuration": name}, parts=parts, options=options))
    if not experiments:
        raise CannotRun("; ".join(notes))
    return experiments, notes


def read_configurations(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read named configurations.

    Parameters
    ----------
    path : Path
        YAML: a mapping of names to mappings of training options (`loss`, `features`, `blocks`,
        `convolutions`, `dense`, `flip_axes`, `augmentation`, `registration`, `recipe`, `max_epochs`,
        `patience`), each of which replaces the recipe's value.

    Raises
    ------
    MissingInputError, BadDataError
        Not there; no YAML; a name or an option that is not known.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(f"{path} can't be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path} is not valid YAML ({error}).") from error
    if not isinstance(content, dict) or not content:
        raise BadDataError(f"{path}: a mapping of configuration names to options is expected.")
    for name, values in content.items():
        if not isinstance(values, dict | None):
            raise BadDataError(f"{path}: {name} is {values!r}; a mapping of options is expected.")
        unknown = sorted(set(values or {}) - set(KNOWN))
        if unknown:
            raise BadDataError(f"{path}: {name} has {unknown[0]!r}; known are {', '.join(KNOWN)}.")
    return {str(name): values or {} for name, values in content.items()}
