"""The split that the model in use was trained on: what it learned from, and what is fair to test it on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids.analyses.base import Study
from epvs_bids.errors import BadDataError
from epvs_bids.files import read_tsv
from epvs_bids.statistics.splitting import PAPER_SHARES, PARTS, split_by_participant

SPLIT = "split.tsv"
LEARNED = ("train", "validation")
WORDS = {"train": "training", "validation": "validation", "test": "test"}
"""Each part in words."""
DEFAULT = "default"
"""Name of the model that ships: no rated scan was in its training."""
SAME = 0.8
"""Share of equal visual scores from which on scans of equal names are taken for the same (ours)."""
FEWEST = 5
"""A part with fewer scans is too small to choose a threshold or a line on, or to test with (ours)."""


def find_split(study: Study, models: Sequence[str]) -> Path | None:
    """Find the table of who was in which part when the model in use was trained.

    That model is `--model`, else the one of this name in `models/`. For an ensemble it is the table of its
    first network: the test scans of all are the same.

    Parameters
    ----------
    models
        Names in the column `model` of the scores.
    """
    folder = model_folder(study, models)
    places = [] if folder is None else [folder / SPLIT, folder / "model-1" / SPLIT]
    return next((path for path in places if path.is_file()), None)


def model_folder(study: Study, models: Sequence[str]) -> Path | None:
    """Where the model in use lies, or would lie; None where several scored and `--model` names none.

    Parameters
    ----------
    models
        Names in the column `model` of the scores.
    """
    names = sorted(set(models))
    if study.options.model is None and len(names) == 1:
        return study.output_dir / "models" / names[0]
    return study.options.model


def seen_in_training(study: Study, table: pd.DataFrame) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Tell which scans the network learned from, in training or validation: measures on them are too good.

    Parameters
    ----------
    table
        Rated scans with `participant_id`, `model`, `scan` and the columns of the raters, n rows.

    Returns
    -------
    Shape (n,), and what a reader has to know: how many these scans are, or that it is not known.

    Raises
    ------
    BadDataError
        As `apply_split`.
    """
    models = table["model"].dropna().astype(str).unique().tolist()
    path, folder = find_split(study, models), model_folder(study, models)
    if path is None:
        unknown = set(models) != {DEFAULT} and (folder is None or not folder.is_dir())
        note = (
            f"what {' and '.join(sorted(models)) or 'the model'} learned from is not known (give its folder "
            "with --model); if these scans were among it, measures of the score are too good"
        )
        return np.zeros(len(table), dtype=bool), (note,) if unknown else ()
    parts = _read_parts(path)
    seen = np.array([parts.get(label) in LEARNED for label in table["participant_id"]], dtype=bool)
    if seen.any() and not same_study(study, path, table):
        note = (
            f"participants with the labels of {seen.sum()} of {len(seen)} rated scans were in the network's "
            f"training or validation ({path}), with other visual scores. If they are the same people, "
            "measures of the score on them are too good"
        )
        return np.zeros(len(table), dtype=bool), (note,)
    note = (
        f"{seen.sum()} of {len(seen)} rated scans were in the network's training or validation ({path}); "
        "measures of the score on them are too good"
    )
    return seen, (note,) if seen.any() else ()


def same_study(study: Study, path: Path, table: pd.DataFrame) -> bool:
    """Tell whether a model was trained on the people of this study: another one may have the same labels.

    Parameters
    ----------
    path
        The model's `split.tsv`: one in the study's own output, or with its visual scores, is of the study.
    table
        Rated scans with `scan` and the columns of the raters.
    """
    if path.resolve().is_relative_to(study.output_dir.resolve()):
        return True
    learned = read_tsv(path)
    if not {"scan", "score"} <= set(learned.columns):
        return False
    both = table.merge(learned[["scan", "score"]], on="scan", suffixes=("", "_then"))
    then = pd.to_numeric(both[both.columns[-1]])
    raters = [name for name in table.columns if name in study.ratings.columns[2:]]
    return any((pd.to_numeric(both[rater]) == then).mean() > SAME for rater in raters)


def apply_split(path: Path, participants: Sequence[str]) -> NDArray[np.str_] | None:
    """Deal scans into the parts that their participants were in; who is not in the table is for testing.

    Parameters
    ----------
    path
        Table with the columns `participant_id` and `split` (`train`, `validation`, `test`).
    participants
        Whose scan each is (`sub-…`).

    Returns
    -------
    Shape (n,), the part of each scan, or None where a part has fewer than 5 scans.

    Raises
    ------
    BadDataError
        The table lacks a column or names another part.
    """
    parts = _read_parts(path)
    of_scan = np.array([parts.get(label, "test") for label in participants])
    return None if min((of_scan == part).sum() for part in PARTS) < FEWEST else of_scan


def _read_parts(path: Path) -> dict[str, str]:
    """Part of every participant of a `split.tsv`; raises as `apply_split` does."""
    frame = read_tsv(path)
    missing = [name for name in ("participant_id", "split") if name not in frame.columns]
    if missing:
        raise BadDataError(f"{path}, column {missing[0]}: it is missing; train the model again")
    bad = frame.index[~frame["split"].isin(PARTS)]
    if len(bad):
        raise BadDataError(
            f"{path}, row {bad[0] + 2}, column split: {frame['split'][bad[0]]!r} is none of "
            f"{', '.join(PARTS)}"
        )
    return dict(zip(frame["participant_id"], frame["split"], strict=True))


def choose_split(
    study: Study, table: pd.DataFrame, counts: NDArray[np.float64]
) -> tuple[NDArray[np.str_], str]:
    """Split rated scans as the model in use was trained, else anew.

    Parameters
    ----------
    table
        Scans with `participant_id`, `model`, `scan` and the columns of the raters.
    counts
        Visual count of each, shape (n,).

    Returns
    -------
    Shape (n,), the part of each scan, and a sentence on where the split is from and what that means for the
    network's measures.
    """
    path = find_split(study, table["model"].dropna().astype(str).unique().tolist())
    if path is not None and not same_study(study, path, table):
        path = None
    known = None if path is None else apply_split(path, table["participant_id"].tolist())
    if known is None:
        people = table["participant_id"].tolist()
        split = split_by_participant(people, counts, seed=study.options.seed, **PAPER_SHARES)
    else:
        split = known
    sizes = ", ".join(f"{(split == part).sum()} {word}" for part, word in WORDS.items()) + " scans"
    if known is not None:
        return split, f"{sizes}: the parts that the network was trained with ({path})"
    if path is not None:
        why = f"of the network's own split ({path}) a part has fewer than {FEWEST} scans here; the network "
        why += "may have been trained on test scans, and its measures may be too good"
    else:
        why = "split anew by participant, as no split is known that the network was trained with; if it was "
        why += "trained on these scans its measures are too good"
    return split, f"{sizes}: {why}"
