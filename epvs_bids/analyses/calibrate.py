"""`calibrate`: a model whose scores are on the scale of a lab's ratings, from as few as 10 rated scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.agreement import measure_rows
from epvs_bids.analyses.base import AnalysisResult, CannotRun, Description, Study
from epvs_bids.analyses.matching import rated_scans
from epvs_bids.errors import BadDataError, CannotCreateError
from epvs_bids.statistics.agreement import agreement
from epvs_bids.statistics.calibration import Calibration, calibrate

NAME = "calibrate"
FEWEST = 10

DESCRIPTIONS: dict[str, Description] = {
    "series": {
        "Description": "Score before calibration, or calibrated by a line that did not see the participant",
    },
}


def _write_model(source: Path, target: Path, line: Mapping[str, float], metrics: Mapping[str, float]) -> None:
    """Copy a model or ensemble with the line added to the calibration that it has already."""
    from epvs_bids.network.checkpoint import load_models, save_ensemble, save_model

    models = load_models(source)
    for number, model in enumerate(models, start=1):
        old = model.description.calibration or {"slope": 1.0, "intercept": 0.0}
        calibration = {
            "slope": line["slope"] * old["slope"],
            "intercept": line["slope"] * old["intercept"] + line["intercept"],
        }
        description = dataclasses.replace(
            model.description,
            calibration=calibration,
            metrics={**model.description.metrics, "calibration": dict(metrics)},
            card=f"Calibrated to the ratings of {int(metrics['n'])} scans. {model.description.card}".strip(),
        )
        folder = target if len(models) == 1 else target / f"model-{number}"
        save_model(folder, model.network, description)
    if len(models) > 1:
        save_ensemble(target, len(models))


def _check_source(study: Study, table: pd.DataFrame, source: Path) -> None:
    """Refuse scores that another model gave than the one that is to be calibrated."""
    name = source.name
    others = sorted(set(table["model"].dropna()) - {name})
    if others:
        raise BadDataError(
            f"{study.output_dir}: scores come from model {others[0]}, and {name} is to be calibrated; give "
            "--model with the model that scored"
        )


def run(study: Study) -> AnalysisResult:
    """Fit the line and write the calibrated model to `out/models/NAME`; see the module."""
    from epvs_bids.network.checkpoint import DEFAULT_MODEL

    matched, rater = rated_scans(study), study.raters[0]
    table = matched.table[matched.table[rater].notna()]
    if len(table) < FEWEST:
        raise CannotRun(f"{len(table)} scans have a score and a rating by {rater}; {FEWEST} are needed")
    source = study.options.model or DEFAULT_MODEL
    target = study.output_dir / "models" / study.options.model_name
    _check_source(study, table, source)
    if target.resolve() == source.resolve():
        raise CannotCreateError(f"{target} is the model that is calibrated; choose another --model-name")
    score, rating = table["score"].to_numpy(dtype=float), table[rater].to_numpy(dtype=float)
    people = table["participant_id"].to_numpy()
    try:
        fitted = calibrate(score, rating, participants=people, seed=study.options.seed)
    except ValueError as error:
        raise BadDataError(f"{study.ratings_path}, column {rater}: no line can be fitted, {error}") from error
    line = {"slope": fitted.slope, "intercept": fitted.intercept}
    metrics = line | {"n": fitted.n, "mse_before": fitted.mse_before, "mse_cross_validated": fitted.mse_after}
    _write_model(source, target, line, metrics)
    rows = [
        row
        for series, values in (("score", score), ("calibrated", fitted.predicted))
        for row in measure_rows(agreement(rating, values, participants=people), rater=rater, series=series)
    ]
    return AnalysisResult(
        NAME,
        tables={"": pd.DataFrame(rows).round(5)},
        descriptions=DESCRIPTIONS,
        figures={
            "scatter": lambda: plots.scatter(
                rating, {"score": score, "calibrated": fitted.predicted}, reference_name=f"rater {rater}"
            )
        },
        summary=_summary(fitted, rater, target),
        numbers={**metrics, "model": str(target)},
        notes=[*matched.notes, "measures of the calibrated score are cross-validated by participant"],
    )


def _summary(fitted: Calibration, rater: str, target: Path) -> str:
    """Say the line, the error before and after, and how to use the model."""
    return (
        f"Rating by {rater} = {fitted.slope:.3f} × score {fitted.intercept:+.3f}, from {fitted.n} scans. "
        "Root "
        f"mean squared error {np.sqrt(fitted.mse_before):.2f} EPVS before, {np.sqrt(fitted.mse_after):.2f} "
        "after "
        f"(cross-validated). Score with it: participant --model {target}."
    )
