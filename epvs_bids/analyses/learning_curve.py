"""`learning-curve`: agreement by the number of training scans (section 3.5, Fig. 7 and 8 of the paper)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from matplotlib.figure import Figure

from epvs_bids.analyses import plots
from epvs_bids.analyses.agreement import MEASURES
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.experiments import Experiment, run_experiments
from epvs_bids.analyses.options import TrainingSettings
from epvs_bids.analyses.rated_regions import (
    rated_regions,
    source_model,
    training_options,
    training_set,
)
from epvs_bids.errors import CannotRun, UsageError
from epvs_bids.network.fit import TrainingSet
from epvs_bids.network.options import TrainingOptions
from epvs_bids.reports.style import MUTED
from epvs_bids.statistics.means import mean_estimate
from epvs_bids.statistics.splitting import split_by_participant

NAME = "learning-curve"

SIZES = (40, 100, 200, 500, 1000)
"""Training sizes (training and validation scans together); 40, 200 and 1000 are in the paper's text."""
VALIDATION = 0.2
"""Share of the training size that is for validation (section 3.5)."""
FEWEST_TEST = 10
PAPER = {40: 0.30, 200: 0.66, 1000: 0.74}
"""The paper's ICC at three sizes."""

DESCRIPTIONS: dict[str, Description] = {
    "run": {"Description": "What --run-index calls this run"},
    "network": {
        "Description": "Which network",
        "Levels": {
            "deep": "The paper's recipe, with what the options change",
            "modern": "The modern recipe, with what the options change",
            "shallow": "Two blocks of one convolution (Fig. 8 of the paper)",
        },
    },
    "size": {"Description": "Scans for training and validation together"},
    "repeat": {"Description": "Random split"},
    "n_train": {"Description": "Scans that the weights were learned from"},
    "n_validation": {"Description": "Scans that decided which epoch is kept"},
    "n_test": {"Description": "Scans that the measures are of"},
    "status": {"Description": "Whether the network learned anything"},
    "runs": {"Description": "Number of random splits"},
    "mean": {"Description": "Mean over the random splits"},
    "paper": {"Description": "ICC that the paper reports for that size"},
}


def run(study: Study) -> AnalysisResult:
    """Train on growing parts of the rated scans; with `run_index`, do one run and tabulate those done."""
    validation = _validation(study.training)
    rated = rated_regions(study)
    torch.set_num_threads(study.options.threads)
    data = training_set(rated, study.new_model)
    sizes, notes = _sizes(study.training.training_sizes or SIZES, len(rated.regions))
    source = source_model(study.training.init_from)
    paper = study.training.recipe == "paper"
    networks = {"deep" if paper else "modern": training_options(study, source)}
    if paper and source is None:
        networks["shallow"] = training_options(study, source, convolutions=1)
    runs = run_experiments(
        plan_runs(
            data,
            sizes,
            study.training.repeats,
            networks,
            validation=validation,
            seed=study.options.seed,
        ),
        data,
        study.new_model / NAME,
        source=source,
        device=study.options.device,
        only=study.training.run_index,
    )
    if runs.empty:
        raise CannotRun("no run of the learning curve is done yet")
    table = summarise(runs)
    return AnalysisResult(
        name=NAME,
        tables={"": table, "runs": runs},
        descriptions=DESCRIPTIONS,
        figures={name: partial(_figure, table, name) for name in ("icc11", "mse")} if len(table) else {},
        summary=_summary(table),
        numbers={f"icc11_{row.network}_{row.size}": row.mean for row in _icc(table).itertuples()},
        notes=(*rated.notes, *notes),
    )


def _validation(training: TrainingSettings) -> float:
    """Share of each training size that is for validation."""
    if training.test_fraction is not None:
        raise UsageError("--test-fraction: a learning curve tests on all scans that are not of the size.")
    return VALIDATION if training.validation_fraction is None else training.validation_fraction


def _sizes(wanted: tuple[int, ...], scans: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Keep the sizes that leave scans for testing."""
    possible = tuple(size for size in sorted(wanted) if size <= scans - FEWEST_TEST)
    if not possible:
        raise CannotRun(
            f"{scans} rated scans leave no {FEWEST_TEST} for testing beside {min(wanted)} for training; "
            "give smaller --training-sizes"
        )
    left = sorted(set(wanted) - set(possible))
    note = f"there are {scans} rated scans, too few for {', '.join(map(str, left))} training scans"
    return possible, ((note,) if left else ())


def plan_runs(
    data: TrainingSet,
    sizes: tuple[int, ...],
    repeats: int,
    networks: dict[str, TrainingOptions],
    *,
    validation: float,
    seed: int,
) -> list[Experiment]:
    """List the runs of a learning curve: for each size, random splits that every network is trained on."""
    runs = []
    for size in sizes:
        for repeat in range(repeats):
            split_seed = seed + 7919 * repeat + size
            parts = split_by_participant(
                data.participants,
                data.scores,
                validation=validation * size / len(data.scores),
                test=1 - size / len(data.scores),
                seed=split_seed,
            )
            for name, options in networks.items():
                labels: dict[str, str | int] = {"network": name, "size": size, "repeat": repeat + 1}
                runs.append(
                    Experiment(labels=labels, parts=parts, options=replace(options, seed=seed + repeat))
                )
    return runs


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval (Student's t) of every measure, for each network and size."""
    rows = []
    for (network, size), group in runs.groupby(["network", "size"]):
        for measure in MEASURES:
            values = pd.to_numeric(group[measure]).dropna().to_numpy(dtype=float)
            if not len(values):
                continue
            rows.append(
                {
                    "network": network,
                    "size": size,
                    "measure": measure,
                    "runs": len(values),
                    **mean_estimate(values).columns("mean"),
                    "paper": PAPER.get(int(str(size))) if measure.startswith("icc") else None,
                }
            )
    columns = ["network", "size", "measure", "runs", "mean", "mean_low", "mean_high", "paper"]
    return pd.DataFrame(rows, columns=columns)


def _icc(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["measure"] == "icc11"]


def _figure(table: pd.DataFrame, measure: str) -> Figure:
    """Draw one measure by size."""
    rows = table[table["measure"] == measure]
    series = {str(name): group for name, group in rows.groupby("network")}
    names = {"icc11": "ICC(1,1) with the visual score", "mse": "mean squared error (EPVS²)"}
    figure = plots.curves(
        series, x="size", x_label="scans for training and validation", y_label=names[measure]
    )
    axis = figure.axes[0]
    sizes = sorted(set(rows["size"]))
    if measure == "icc11":
        axis.plot(
            list(PAPER), list(PAPER.values()), label="Dubost et al. 2019, human rater",
            color=MUTED, marker="o", markerfacecolor="none", linestyle=":",
        )  # fmt: skip
        axis.legend()
        sizes = sorted({*sizes, *PAPER})
    axis.set_xscale("log")
    axis.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
    axis.minorticks_off()
    return figure


def _summary(table: pd.DataFrame) -> str:
    found = [f"{row.mean:.2f} at {row.size} ({row.network})" for row in _icc(table).itertuples()]
    if not found:
        return "No run converged: their predictions are constant."
    return f"ICC(1,1) on test scans: {', '.join(found)}; the paper has 0.30 at 40, 0.66 at 200, 0.74 at 1000."
