"""`calibrate`: a model whose scores are on the scale of a lab's ratings, from as few as 10 rated scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.agreement import measure_rows
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.matching import rated_scans
from epvs_bids.analyses.model_split import SPLIT, seen_in_training
from epvs_bids.errors import BadDataError, CannotCreateError, CannotRun, UsageError
from epvs_bids.files import read_json, write_text
from epvs_bids.statistics.agreement import agreement
from epvs_bids.statistics.calibration import Calibration, Curve, Line, calibrate

if TYPE_CHECKING:
    from epvs_bids.network.checkpoint import LoadedModel

NAME = "calibrate"
FEWEST = 10
SPLIT_FILES = (SPLIT, "split.json")

DESCRIPTIONS: dict[str, Description] = {
    "series": {
        "Description": "Score before calibration, or calibrated by a fit that did not see the participant",
    },
}


def combine(old: Mapping[str, Any] | None, fitted: Line | Curve) -> dict[str, Any]:
    """Calibration of a model whose scores, calibrated by `old` already, are calibrated by `fitted`.

    A curve can't follow a curve.
    """
    if isinstance(fitted, Curve):
        before = old or {"slope": 1.0, "intercept": 0.0}
        scores = (fitted.scores - before["intercept"]) / before["slope"]
        return {"scores": scores.tolist(), "ratings": fitted.ratings.tolist()}
    if old is not None and "scores" in old:
        return {"scores": list(old["scores"]), "ratings": fitted(np.array(old["ratings"])).tolist()}
    before = old or {"slope": 1.0, "intercept": 0.0}
    return {
        "slope": fitted.slope * before["slope"],
        "intercept": fitted.slope * before["intercept"] + fitted.intercept,
    }


def curve_allowed(models: Sequence[LoadedModel]) -> bool:
    """Whether a curve fits: not on an ensemble, whose mean it would bend, nor where there is one already."""
    old = models[0].description.calibration
    return len(models) == 1 and (old is None or old.get("slope", 0) > 0)


def _write_model(
    models: Sequence[LoadedModel],
    source: Path,
    target: Path,
    fitted: Line | Curve,
    metrics: Mapping[str, Any],
) -> None:
    """Copy a model or ensemble with the fit added to the calibration that it has already."""
    from epvs_bids.network.checkpoint import save_ensemble, save_model

    for name in SPLIT_FILES:  # of an earlier calibration
        for old in (target / name, *target.glob(f"model-*/{name}")):
            old.unlink(missing_ok=True)
    for number, model in enumerate(models, start=1):
        description = dataclasses.replace(
            model.description,
            calibration=combine(model.description.calibration, fitted),
            metrics={**model.description.metrics, "calibration": dict(metrics)},
            card=f"Calibrated to the ratings of {int(metrics['n'])} scans. {model.description.card}".strip(),
        )
        folder = target if len(models) == 1 else target / f"model-{number}"
        save_model(folder, model.network, description)
        _copy_split(source / model.name if len(models) > 1 else source, folder)
    if len(models) > 1:
        save_ensemble(target, len(models))


def _copy_split(source: Path, target: Path) -> None:
    """Copy who was in which part of the training, which holds for the calibrated network too."""
    for name in SPLIT_FILES:
        if (source / name).is_file():
            write_text(target / name, (source / name).read_text(encoding="utf-8"))


def _check_target(study: Study, source: Path, target: Path) -> None:
    """Refuse to write over the model that is calibrated, and over any that this analysis did not make.

    Raises
    ------
    CannotCreateError
        The folder holds such a model, or the beginnings of a training.
    UsageError
        The same run is asked to train a model of that name.
    """
    from epvs_bids.network.checkpoint import DESCRIPTION
    from epvs_bids.network.training import CHECKPOINT

    remedy = "choose another --model-name"
    if "train" in study.options.analyses:
        raise UsageError(
            f"--analysis calibrate train: both write {target}; run them one by one, and for one {remedy}"
        )
    if target.resolve() == source.resolve():
        raise CannotCreateError(f"{target} is the model that is calibrated; {remedy}")
    for folder in (target, *sorted(target.glob("model-*"))):
        path = folder / DESCRIPTION
        calibrated = path.is_file() and "calibration" in (read_json(path).get("metrics") or {})
        if not calibrated and (path.is_file() or (folder / CHECKPOINT).is_file()):
            raise CannotCreateError(f"{folder} holds a model that `calibrate` did not make; {remedy}")


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
    """Fit the line or curve and write the calibrated model to `out/models/NAME`; see the module."""
    from epvs_bids.network.checkpoint import DEFAULT_MODEL, load_models

    matched, rater = rated_scans(study), study.raters[0]
    table = matched.table[matched.table[rater].notna()]
    if len(table) < FEWEST:
        raise CannotRun(f"{len(table)} scans have a score and a rating by {rater}; {FEWEST} are needed")
    source = study.options.model or DEFAULT_MODEL
    target = study.new_model
    _check_source(study, table, source)
    _, notes = seen_in_training(study, table)
    _check_target(study, source, target)
    models = load_models(source)
    score, rating = table["score"].to_numpy(dtype=float), table[rater].to_numpy(dtype=float)
    people = table["participant_id"].to_numpy()
    allowed, seed = curve_allowed(models), study.options.seed
    try:
        found = calibrate(score, rating, participants=people, curve_allowed=allowed, seed=seed)
    except ValueError as error:
        raise BadDataError(f"{study.ratings_path}, column {rater}: no line can be fitted, {error}") from error
    metrics = _metrics(found)
    _write_model(models, source, target, found.fitted, metrics)
    both = {"score": score, "calibrated": found.predicted}
    rows = [
        row
        for series, values in both.items()
        for row in measure_rows(agreement(rating, values, participants=people), rater=rater, series=series)
    ]
    return AnalysisResult(
        NAME,
        tables={"": pd.DataFrame(rows).round(5)},
        descriptions=DESCRIPTIONS,
        figures={"scatter": lambda: plots.scatter(rating, both, reference_name=f"rater {rater}")},
        summary=_summary(found, rater, target),
        numbers={**metrics, "model": str(target)},
        notes=[*matched.notes, "measures of the calibrated score are cross-validated by participant", *notes],
    )


def _metrics(found: Calibration) -> dict[str, Any]:
    """Numbers for `model.json` and `group_results.json`."""
    tried = {"mse_line_cross_validated": found.mse_line, "mse_curve_cross_validated": found.mse_curve}
    common: dict[str, Any] = {
        "n": found.n,
        "mse_before": found.mse_before,
        "mse_cross_validated": found.mse_after,
    }
    common |= tried if np.isfinite(found.mse_curve) else {}
    if isinstance(found.fitted, Line):
        return {
            "kind": "line",
            "slope": found.fitted.slope,
            "intercept": found.fitted.intercept,
        } | common
    return {"kind": "curve", "points": len(found.fitted.scores)} | common


def _summary(found: Calibration, rater: str, target: Path) -> str:
    """Say the line or curve, why it was taken, the error before and after, and how to use the model."""
    line, curve = np.sqrt([found.mse_line, found.mse_curve])
    if isinstance(found.fitted, Curve):
        what = (
            f"Rating by {rater} = a rising curve through {len(found.fitted.scores)} points (its error "
            f"{curve:.2f} EPVS is clearly smaller than a line's, {line:.2f})"
        )
    else:
        what = f"Rating by {rater} = {found.fitted.slope:.3f} × score {found.fitted.intercept:+.3f}"
        what += f" (a curve's error, {curve:.2f} EPVS, is not clearly smaller)" if np.isfinite(curve) else ""
    before, after = np.sqrt([found.mse_before, found.mse_after])
    warning = (
        " The calibrated score is no better than the score as it is: give more ratings, or do without."
        if after >= before
        else ""
    )
    return (
        f"{what}, from {found.n} scans. Root mean squared error {before:.2f} EPVS before, {after:.2f} after "
        f"(cross-validated). Score with it: participant --model {target}.{warning}"
    )
