"""`train`: a lab's own model, from its visual scores (sections 2.3 and 3.1 of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epvs_bids.analyses import plots
from epvs_bids.analyses.agreement import measure_rows
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.rated_regions import (
    RatedRegions,
    rated_regions,
    source_model,
    training_options,
    training_set,
)
from epvs_bids.errors import UsageError
from epvs_bids.files import write_tsv
from epvs_bids.network.checkpoint import save_ensemble
from epvs_bids.network.device import choose_device
from epvs_bids.network.distributed import Workers, worker_device, workers
from epvs_bids.network.fit import Fitted, TrainingSet, fit_model, held_out
from epvs_bids.network.training import HISTORY
from epvs_bids.statistics.agreement import agreement
from epvs_bids.statistics.splitting import PARTS, Part, split_by_participant

NAME = "train"

HELD_OUT: tuple[Part, ...] = ("validation", "test")
VALIDATION = 0.2
"""Share of the participants for validation, unless another is asked for."""

DESCRIPTIONS: dict[str, Description] = {
    "model": {"Description": "Network of the ensemble; `ensemble` for their mean"},
    "part": {
        "Description": "Part of the scans that the measure is of",
        "Levels": {
            "validation": "Scans that decided when training ended, or were left out of the fit in turn",
            "test": "Scans that the training never saw",
        },
    },
    "split": {"Description": "Part that the scan was in", "Levels": dict.fromkeys(PARTS, "")},
    "prediction": {"Description": "Score that the network gives, n/a for training scans", "Units": "EPVS"},
}


@dataclass(frozen=True)
class _Member:
    """One network of the ensemble: its split and what it predicts."""

    parts: NDArray[np.str_]
    fitted: Fitted


def run(study: Study) -> AnalysisResult:
    """Train one network or an ensemble, and write it to `models/<name>`."""
    rated = rated_regions(study)
    folder = study.new_model
    torch.set_num_threads(study.options.threads)
    with workers() as together:
        data = _gather(rated, folder, together)
        count = study.training.n_models
        members = [_train_one(study, data, rated, index, together) for index in range(count)]
        if count > 1 and together.leads:
            save_ensemble(folder, count)
            for name in ("split.tsv", "split.json"):  # of a single model that was there before
                (folder / name).unlink(missing_ok=True)
    table, predictions = _tables(members, data, rated, seed=study.options.seed)
    figures: dict[str, Callable[[], Figure]] = {}
    history = (folder if count == 1 else folder / "model-1") / HISTORY
    if "epochs" in members[0].fitted.training:
        figures["history"] = lambda: _history(pd.read_csv(history))
    test = predictions[predictions["split"] != "train"].dropna()
    if len(test) > 2:
        figures["scatter"] = lambda: plots.scatter(
            test["score"], {"network": test["prediction"]}, reference_name=rated.rater
        )
    notes = rated.notes + tuple(note for member in members[:1] for note in member.fitted.notes)
    return AnalysisResult(
        name=NAME,
        tables={"": table, "predictions": predictions},
        descriptions=DESCRIPTIONS,
        figures=figures,
        summary=_summary(table, folder, len(rated.regions)),
        numbers={"model": str(folder), "scans": len(rated.regions), **_numbers(table)},
        notes=notes,
    )


def _gather(rated: RatedRegions, folder: Path, together: Workers) -> TrainingSet:
    """Gather the regions in one process, and open them in all."""
    if together.leads:
        data = training_set(rated, folder)
    together.wait()
    return data if together.leads else training_set(rated, folder)


def _train_one(
    study: Study, data: TrainingSet, rated: RatedRegions, index: int, together: Workers
) -> _Member:
    """Train network `index` with a split and a seed of its own; the test scans are those of all."""
    seed, chosen = study.options.seed, study.training
    parts = draw_parts(
        data,
        validation=VALIDATION if chosen.validation_fraction is None else chosen.validation_fraction,
        test=chosen.test_fraction or 0.0,
        seed=seed,
        member=index,
    )
    alone = chosen.n_models == 1
    folder = study.new_model if alone else study.new_model / f"model-{index + 1}"
    source = source_model(chosen.init_from)
    options = training_options(study, source)
    fitted = fit_model(
        data,
        parts,
        replace(options, seed=seed + index),
        folder,
        device=worker_device(choose_device(study.options.device)),
        workers=together,
        source=source,
        resume=chosen.resume,
        fit_validation=alone,
    )
    if together.leads:
        write_split(folder, rated, parts)
    return _Member(parts, fitted)


def draw_parts(
    data: TrainingSet, *, validation: float, test: float, seed: int, member: int = 0
) -> NDArray[np.str_]:
    """Deal scans into parts: the test scans by the seed, the validation scans by seed and member.

    Raises `UsageError` where the shares leave no scans to learn from.
    """
    if validation + test >= 1:
        raise UsageError(
            f"--validation-fraction {validation:g} and --test-fraction {test:g} leave no scans to learn from."
        )
    parts = split_by_participant(data.participants, data.scores, validation=0.0, test=test, seed=seed)
    rest = np.flatnonzero(parts != "test")
    people = [data.participants[index] for index in rest.tolist()]
    share = validation / (1 - test)
    parts[rest] = split_by_participant(
        people, data.scores[rest], validation=share, test=0.0, seed=seed + 1000 * (member + 1)
    )
    return parts


def write_split(folder: Path, rated: RatedRegions, parts: NDArray[np.str_]) -> None:
    """Write who is in which part as `split.tsv`."""
    table = pd.DataFrame(
        {
            "participant_id": [region.participant for region in rated.regions],
            "scan": [region.name for region in rated.regions],
            "score": [region.score for region in rated.regions],
            "split": parts,
        }
    )
    description: dict[str, Description] = {
        "participant_id": {"Description": "Participant"},
        "scan": {"Description": "File name of the scan up to its description"},
        "score": {"Description": f"Visual score by {rated.rater}", "Units": "EPVS"},
        "split": DESCRIPTIONS["split"],
    }
    write_tsv(folder / "split.tsv", table, description)


def _tables(
    members: list[_Member], data: TrainingSet, rated: RatedRegions, *, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of each network on each held-out part, and its predictions scan by scan."""
    people = np.asarray(data.participants)
    measures: list[dict[str, object]] = []
    frames = []
    for index, member in enumerate(members):
        name, predicted = f"model-{index + 1}", member.fitted.predictions
        for part in HELD_OUT:
            chosen = held_out(member.parts, predicted, part)
            if chosen.sum() < 3 or np.ptp(data.scores[chosen]) == 0:
                continue
            result = agreement(
                data.scores[chosen], predicted[chosen], participants=people[chosen], draws=200, seed=seed
            )
            measures += measure_rows(result, model=name, part=part)
        frames.append(
            pd.DataFrame(
                {
                    "model": name,
                    "participant_id": people,
                    "scan": [region.name for region in rated.regions],
                    "split": member.parts,
                    "score": data.scores,
                    "prediction": predicted,
                }
            )
        )
    columns = ["model", "part", "n", "measure", "value", "ci_low", "ci_high", "ci_method"]
    return pd.DataFrame(measures, columns=columns), pd.concat(frames, ignore_index=True)


def _numbers(table: pd.DataFrame) -> dict[str, float]:
    """Mean ICC(1,1) over the networks, for each part."""
    if table.empty:
        return {}
    icc = table[table["measure"] == "icc11"].groupby("part")["value"].mean()
    return {f"icc11_{part}": float(value) for part, value in icc.items()}


def _history(epochs: pd.DataFrame) -> Figure:
    """Draw the losses of the first network by epoch."""
    series = {
        f"{part} scans": epochs.assign(mean=epochs[f"{part}_loss"]) for part in ("training", "validation")
    }
    return plots.curves(series, x="epoch", x_label="epoch", y_label="loss", band=False)


def _summary(table: pd.DataFrame, folder: Path, scans: int) -> str:
    """Sum up in a sentence."""
    found = ", ".join(f"{part.removeprefix('icc11_')} {value:.2f}" for part, value in _numbers(table).items())
    too_few = "Too few scans were held out to measure its agreement. "
    agreement_text = f"ICC(1,1) with the visual score: {found}. " if found else too_few
    return f"Trained on {scans} scans. {agreement_text}Score scans with it by `participant --model {folder}`."
