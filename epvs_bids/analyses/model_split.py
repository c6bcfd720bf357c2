"""The split that the model in use was trained on, so that other methods are compared with it fairly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids.analyses.base import Study
from epvs_bids.errors import BadDataError
from epvs_bids.files import read_tsv
from epvs_bids.network.splits import PARTS
from epvs_bids.statistics.splitting import Split, split_scans

SPLIT = "split.tsv"
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
    given = study.options.model
    names = sorted(set(models))
    if given is None and len(names) != 1:
        return None
    folder = study.output_dir / "models" / names[0] if given is None else given
    places = [folder / SPLIT, folder / "model-1" / SPLIT]
    return next((path for path in places if path.is_file()), None)


def apply_split(path: Path, participants: Sequence[str]) -> Split | None:
    """Deal scans into the parts that their participants were in; who is not in the table is for testing.

    Parameters
    ----------
    path
        Table with the columns `participant_id` and `split` (`train`, `validation`, `test`).
    participants
        Whose scan each is (`sub-…`).

    Returns
    -------
    The split, or None where a part has fewer than 5 scans.

    Raises
    ------
    BadDataError
        The table lacks a column or names another part.
    """
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
    parts = dict(zip(frame["participant_id"], frame["split"], strict=True))
    of_scan = pd.Series([parts.get(label, "test") for label in participants])
    training, validation, test = (np.flatnonzero(of_scan == part) for part in PARTS)
    if min(len(training), len(validation), len(test)) < FEWEST:
        return None
    return Split(training, validation, test)


def choose_split(study: Study, table: pd.DataFrame, counts: NDArray[np.float64]) -> tuple[Split, str]:
    """Split rated scans as the model in use was trained, else anew.

    Parameters
    ----------
    table
        Scans with `participant_id` and `model`.
    counts
        Visual count of each, shape (n,).

    Returns
    -------
    The split, and a sentence on where it is from and what that means for the network's measures.
    """
    path = find_split(study, table["model"].dropna().astype(str).unique().tolist())
    known = None if path is None else apply_split(path, table["participant_id"].tolist())
    split = known or split_scans(table["participant_id"], counts, seed=study.options.seed)
    sizes = (
        f"{len(split.training)} training, {len(split.validation)} validation, {len(split.test)} test scans"
    )
    if known is not None:
        return split, f"{sizes}: the parts that the network was trained with ({path})"
    if path is not None:
        why = f"of the network's own split ({path}) a part has fewer than {FEWEST} scans here; the network "
        why += "may have been trained on test scans, and its measures may be too good"
    else:
        why = "split anew by participant, as no split is known that the network was trained with; if it was "
        why += "trained on these scans its measures are too good"
    return split, f"{sizes}: {why}"
