"""Reads what the participant level wrote: scores and regions of interest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from epvs_bids.bids.derivatives import SCORE_DICTIONARY
from epvs_bids.bids.scores import entity, failed_scans, find_score_tables, read_score_table
from epvs_bids.errors import CannotRun
from epvs_bids.files import MISSING

LAST_RUN = "its last run failed, the score is of an earlier one: "


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


def find_regions(output_dir: Path) -> tuple[Region, ...]:
    """Find every `*_desc-roi_*.nii.gz` under `output_dir`, ordered by participant, session and scan."""
    paths = sorted(output_dir.glob("sub-*/**/anat/sub-*_desc-roi_*.nii.gz"))
    return tuple(
        Region(entity(path.name, "sub"), entity(path.name, "ses"), path.name.split("_space-")[0], path)
        for path in paths
    )


def read_scores(output_dir: Path) -> pd.DataFrame:
    """Gather every `*_desc-epvs_scores.tsv` under `output_dir`, by participant, session, scan and region.

    A score that stands although the scan failed when it was run again is of an earlier model, or of a scan
    that has changed since: it does not pass quality control.

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
    rows = [row for path in find_score_tables(output_dir) for row in read_score_table(path)]
    if not rows:
        raise CannotRun(f"no scores under {output_dir}: run the participant level first")
    scores = pd.DataFrame(rows)
    for name in SCORE_DICTIONARY:
        if name not in scores.columns:
            scores[name] = None
    scores = scores.mask(scores == MISSING)
    scores["session_id"] = scores["session_id"].fillna("")
    for name in scores.columns:
        if name in ("score", "score_sd", "potter_class") or name.startswith("model-"):
            scores[name] = pd.to_numeric(scores[name], errors="coerce")
    scores["qc_pass"] = ~scores["qc_pass"].astype(str).str.lower().isin(["false", "0", "0.0"])
    failed = failed_scans(output_dir)
    again = scores["scan"].isin(list(failed))
    scores["qc_pass"] &= ~again
    scores.loc[again, "qc_reason"] = [LAST_RUN + failed[scan] for scan in scores.loc[again, "scan"]]
    return scores.sort_values(["participant_id", "session_id", "scan", "region"], ignore_index=True)
