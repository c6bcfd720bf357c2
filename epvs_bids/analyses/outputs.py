"""Reads what the participant level wrote: scores and regions of interest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from epvs_bids.analyses.base import CannotRun
from epvs_bids.errors import BadDataError, EPVSError
from epvs_bids.files import MISSING, read_json
from epvs_bids.reports.outputs import entity

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


LAST_RUN = "its last run failed, the score is of an earlier one: "
REMEDY = "run the participant level again for it"


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


def _read_one(path: Path) -> list[dict[str, str]]:
    """Read one scan's scores as text, one row a region, with its labels as the first columns."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path}: can't be read ({error}); {REMEDY}") from error
    header = lines[0].split("\t") if lines else []
    for name in ("region", "score"):
        if name not in header:
            raise BadDataError(f"{path}, column {name}: it is missing; {REMEDY}")
    labels = {
        "participant_id": entity(path.name, "sub"),
        "session_id": entity(path.name, "ses"),
        "scan": path.name.split("_desc-")[0],
    }
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise BadDataError(
                f"{path}, row {number}: {len(cells)} cells where the header has {len(header)}; {REMEDY}"
            )
        rows.append(labels | dict(zip(header, cells, strict=True)))
        _number(rows[-1]["score"], path, number)
    return rows


def _number(text: str, path: Path, row: int) -> float:
    """Check a score: a finite number or `n/a`."""
    try:
        value = float("nan" if text == MISSING else text)
    except ValueError:
        value = float("inf")
    if value in (float("inf"), float("-inf")):
        raise BadDataError(f"{path}, row {row}, column score: {text!r} is not a number; {REMEDY}")
    return value


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
    paths = sorted(output_dir.glob("sub-*/**/anat/sub-*_desc-epvs_scores.tsv"))
    rows = [row for path in paths for row in _read_one(path)]
    if not rows:
        raise CannotRun(f"no scores under {output_dir}: run the participant level first")
    scores = pd.DataFrame(rows)
    for name in SCORE_COLUMNS:
        if name not in scores.columns:
            scores[name] = None
    scores = scores.mask(scores == MISSING)
    for name in scores.columns:
        if name in ("score", "score_sd", "potter_class") or name.startswith("model-"):
            scores[name] = pd.to_numeric(scores[name], errors="coerce")
    scores["qc_pass"] = ~scores["qc_pass"].astype(str).str.lower().isin(["false", "0", "0.0"])
    failed = failed_scans(output_dir)
    again = scores["scan"].isin(list(failed))
    scores["qc_pass"] &= ~again
    scores.loc[again, "qc_reason"] = [LAST_RUN + failed[scan] for scan in scores.loc[again, "scan"]]
    return scores.sort_values(["participant_id", "session_id", "scan", "region"], ignore_index=True)


def read_failures(output_dir: Path) -> list[tuple[str, str, str]]:
    """List participant, session (may be empty) and reason of scans that the last run left without a score.

    From `logs/scans/*.json`, which that level leaves for every scan; files that can't be read are passed
    over.
    """
    found = []
    for status in _statuses(output_dir):
        if status.get("result") in ("failed", "stopped", "missing"):
            labels = [str(status.get(key) or "") for key in ("participant_id", "session_id")]
            found.append((labels[0], labels[1], str(status.get("reason") or "no reason is known")))
    return found


def failed_scans(output_dir: Path) -> dict[str, str]:
    """Return the reason by name, without its suffix, of each scan that failed in its last run."""
    failed = (status for status in _statuses(output_dir) if status.get("result") == "failed")
    return {
        str(status.get("scan")).rpartition("_")[0]: str(status.get("reason") or "no reason is known")
        for status in failed
    }


def _statuses(output_dir: Path) -> Iterator[Mapping[str, Any]]:
    """Read what became of each scan, by name, in the order of the names."""
    for path in sorted((output_dir / "logs" / "scans").glob("*.json")):
        with suppress(EPVSError):
            yield read_json(path)
