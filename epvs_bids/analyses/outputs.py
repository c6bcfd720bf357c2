"""Reads what the participant level wrote: scores and regions of interest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from epvs_bids.analyses.base import CannotRun
from epvs_bids.errors import BadDataError

SCORE_COLUMNS = (
    "region",
    "score",
    "score_sd",
    "potter_class",
    "model",
    "segmentation",
    "qc_pass",
    "qc_reason",
)
"""Columns of a `_desc-epvs_scores.tsv`."""


@dataclass(frozen=True)
class Region:
    """One region of interest on disk.

    `image` is the region that the network sees, (168, 128, 84) in [0, 1]; `scan` is its file name up to
    `_space-`.
    """

    participant_id: str
    session_id: str
    scan: str
    image: Path


def _entity(name: str, key: str) -> str:
    """`key-label` in the file name `name`, or an empty string."""
    return next((part for part in name.split("_") if part.startswith(f"{key}-")), "")


def find_regions(output_dir: Path) -> tuple[Region, ...]:
    """Find every `*_desc-roi_*.nii.gz` under `output_dir`, ordered by participant, session and scan."""
    paths = sorted(output_dir.glob("sub-*/**/anat/*_desc-roi_*.nii.gz"))
    return tuple(
        Region(_entity(path.name, "sub"), _entity(path.name, "ses"), path.name.split("_space-")[0], path)
        for path in paths
    )


def _read_one(path: Path) -> pd.DataFrame:
    """Read one scan's scores, with its labels as the first columns."""
    try:
        frame = pd.read_csv(
            path, sep="\t", na_values="n/a", dtype={"region": str, "model": str, "segmentation": str}
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise BadDataError(
            f"{path}: not a table of scores ({error}); run the participant level again for it"
        ) from error
    missing = [name for name in ("region", "score") if name not in frame.columns]
    if missing:
        raise BadDataError(f"{path}: column {missing[0]} is missing; run the participant level again for it")
    score = pd.to_numeric(frame["score"], errors="coerce")
    bad = frame.index[score.isna() & frame["score"].notna()]
    if len(bad):
        raise BadDataError(
            f"{path}, row {bad[0] + 2}, column score: {frame['score'][bad[0]]!r} is not a number"
        )
    frame["score"] = score
    frame.insert(0, "participant_id", _entity(path.name, "sub"))
    frame.insert(1, "session_id", _entity(path.name, "ses"))
    frame.insert(2, "scan", path.name.split("_desc-")[0])
    return frame


def read_scores(output_dir: Path) -> pd.DataFrame:
    """Gather every `*_desc-epvs_scores.tsv` under `output_dir`, by participant, session, scan and region.

    Returns
    -------
    One row a scan and region, see `base.Study.scores`.

    Raises
    ------
    CannotRun
        Where no scan has been scored.
    BadDataError
        Where a table can't be read, naming file, row and column.
    """
    frames = [_read_one(path) for path in sorted(output_dir.glob("sub-*/**/anat/*_desc-epvs_scores.tsv"))]
    if not frames:
        raise CannotRun(f"no scores under {output_dir}: run the participant level first")
    scores = pd.concat(frames, ignore_index=True)
    for name in SCORE_COLUMNS:
        if name not in scores.columns:
            scores[name] = None
    scores["qc_pass"] = scores["qc_pass"].map(lambda value: str(value).lower() not in {"false", "0", "0.0"})
    return scores.sort_values(["participant_id", "session_id", "scan", "region"], ignore_index=True)
