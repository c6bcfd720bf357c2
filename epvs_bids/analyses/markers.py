"""Marked EPVS: tables of points, as `epvs-rate`, the simulator or other programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids.analyses.base import Study
from epvs_bids.errors import BadDataError, CannotRun
from epvs_bids.files import read_tsv

Points = NDArray[np.float64]

PATTERN = "*/sub-*/**/*_desc-epvs_markers.tsv"


def read_markers(study: Study) -> dict[str, tuple[Path, Points]]:
    """Read marked points of every scan.

    They are looked for in the derivatives of `bids_dir`, then in those that `epvs-rate` leaves below
    `output_dir` when it is not told a data set. A scan's first table counts; where it holds the marks of
    several raters, those of `--rater`, else of the rater in its first row.

    Returns
    -------
    By scan (file name up to `_desc-`): the table's path and its points, shape (n, 3), in scanner mm (RAS).

    Raises
    ------
    CannotRun
        There is no such table.
    BadDataError
        Naming file, row and column that can't be used.
    """
    folders = [folder / "derivatives" for folder in (study.bids_dir, study.output_dir) if folder is not None]
    found: dict[str, tuple[Path, Points]] = {}
    for folder in folders:
        for path in sorted(folder.glob(PATTERN)):
            scan = path.name.split("_desc-")[0]
            if scan not in found:
                found[scan] = (path, _read_points(path, study.options.rater))
    if not found:
        places = " or ".join(map(str, folders))
        raise CannotRun(f"there are no marked EPVS: no *_desc-epvs_markers.tsv under {places}")
    return found


def _read_points(path: Path, rater: str | None) -> Points:
    """Read the points of one rater from one table."""
    frame = read_tsv(path)
    missing = [name for name in "xyz" if name not in frame.columns]
    if missing:
        raise BadDataError(f"{path}, column {missing[0]}: it is missing; x, y and z in mm are expected")
    if "rater" in frame.columns and len(frame):
        theirs = frame["rater"] == rater
        frame = frame[theirs if theirs.any() else frame["rater"] == frame["rater"].iloc[0]]
    points = frame[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    bad = points.index[~np.isfinite(points).all(axis=1)]
    if len(bad):
        raise BadDataError(f"{path}, row {bad[0] + 2}: x, y and z must be numbers")
    return np.asarray(points, dtype=np.float64)
