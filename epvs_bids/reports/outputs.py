"""What the pages are made of: files below the output folder, and nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epvs_bids.errors import EPVSError
from epvs_bids.files import MISSING, read_json, read_tsv

_LOGGER = logging.getLogger(__name__)

Row = dict[str, str]
"""A row of a table as text, by column."""

_BOX = r"space-(?P<space>[A-Za-z0-9]+)_res-05"
_HEAD = r"space-[A-Za-z0-9]+_res-1"
_CONTRAST = r"(?P<suffix>[A-Za-z0-9]+)\.nii\.gz"
_ROLES = {
    "head": re.compile(rf"{_HEAD}_desc-preproc_{_CONTRAST}"),
    "scan": re.compile(rf"{_BOX}_desc-preproc_{_CONTRAST}"),
    "mask": re.compile(rf"{_BOX}_label-BG_desc-smooth_probseg\.nii\.gz"),
    "region": re.compile(rf"{_BOX}_label-BG_desc-roi_{_CONTRAST}"),
    "saliency": re.compile(rf"{_BOX}_label-BG_desc-saliency_{_CONTRAST}"),
    "saliency_sidecar": re.compile(rf"{_BOX}_label-BG_desc-saliency_[A-Za-z0-9]+\.json"),
    "scores": re.compile(r"desc-epvs_scores\.tsv"),
    "sidecar": re.compile(r"desc-epvs_scores\.json"),
}
_RAW_ENTITIES = re.compile(r"sub-[^_]+(?:_(?:ses|acq|ce|rec|run|echo|part|chunk)-[^_]+)*")


@dataclass(frozen=True)
class Scan:
    """One scan's derivatives.

    Parameters
    ----------
    name
        File name up to the first derivative entity, as in `sub-01_ses-1_run-2`.
    participant, session
        Labels with their prefix; `session` may be empty.
    files
        Paths by role: `head` (1 mm, the whole head), and on the grid of the region `scan`, `mask`, `region`
        and `saliency`; `saliency_sidecar`, `scores` and `sidecar`.
    space, suffix
        Template of the derivatives (`scanner` without one) and contrast (`PDw`, `T2w`); empty where no image
        says.
    """

    name: str
    participant: str
    session: str
    files: Mapping[str, Path] = field(default_factory=dict)
    space: str = ""
    suffix: str = ""


def entity(name: str, key: str) -> str:
    """`key-label` in a file name, or an empty string."""
    return next((part for part in name.split("_") if part.startswith(f"{key}-")), "")


def find_scans(output_dir: Path, participant: str) -> list[Scan]:
    """Find the scans of a participant (`sub-…`), by session and name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((output_dir / participant).glob("**/anat/*")):
        stem = _RAW_ENTITIES.match(path.name)
        if stem is None:
            continue
        for role, pattern in _ROLES.items():
            if match := pattern.fullmatch(path.name[stem.end() + 1 :]):
                scan = found.setdefault(stem.group(), {"files": {}})
                scan["files"][role] = path
                scan.update({key: value for key, value in match.groupdict().items() if value})
    return [
        Scan(name=name, participant=participant, session=entity(name, "ses"), **values)
        for name, values in sorted(found.items())
    ]


def rows(path: Path) -> list[Row]:
    """Read a table as text; a table that can't be read is logged and gives no row."""
    try:
        frame = read_tsv(path)
    except EPVSError as error:
        _LOGGER.warning("%s", error)
        return []
    texts = frame.astype(object).where(frame.notna(), MISSING).astype(str)
    return [
        dict(zip(map(str, texts.columns), values, strict=True)) for values in texts.itertuples(index=False)
    ]


def content(path: Path) -> dict[str, Any]:
    """Read a JSON object; one that is missing or can't be read is logged and gives an empty one."""
    if not path.is_file():
        return {}
    try:
        return read_json(path)
    except EPVSError as error:
        _LOGGER.warning("%s", error)
        return {}


def number(text: str | float | None) -> float | None:
    """Turn a cell into a finite number, or None."""
    try:
        value = float(text if text is not None else "nan")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def passed(row: Mapping[str, str]) -> bool:
    """Whether a row's scan passed quality control (rows that do not say, did)."""
    return row.get("qc_pass", MISSING).strip().lower() not in {"false", "0", "0.0"}


def cohort(output_dir: Path) -> list[Row]:
    """All scores of the study: the group level's table where there is one, else what is scored so far.

    Rows have `participant_id`, `session_id`, `scan`, `region`, `score` and what else the tables hold.
    """
    table = output_dir / "group_scores.tsv"
    if table.is_file():
        return rows(table)
    gathered = []
    for path in sorted(output_dir.glob("sub-*/**/anat/sub-*_desc-epvs_scores.tsv")):
        labels = {
            "participant_id": entity(path.name, "sub"),
            "session_id": entity(path.name, "ses") or MISSING,
            "scan": path.name.removesuffix("_desc-epvs_scores.tsv"),
        }
        gathered += [{**labels, **row} for row in _plain_rows(path)]
    return gathered


def _plain_rows(path: Path) -> list[Row]:
    """Read a small table that this app wrote: a page reads one of each scan, which pandas is too slow for."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        _LOGGER.warning("%s can't be read: %s", path, error)
        return []
    cells = [line.split("\t") for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:] if len(row) == len(cells[0])]


def ages(output_dir: Path) -> dict[tuple[str, str], float]:
    """Age in years by participant and session (`n/a` where the table has none), as far as the outputs say."""
    found: dict[tuple[str, str], float] = {}
    for name in ("participants.tsv", "group_scores.tsv"):
        path = output_dir / name
        for row in rows(path) if path.is_file() else []:
            age = number(row.get("age"))
            if age is not None and "participant_id" in row:
                found[_labelled(row), row.get("session_id", MISSING)] = age
    return found


def person(output_dir: Path, participant: str) -> Row:
    """Row of `participants.tsv` of a participant (`sub-…`), without missing values; empty where none is."""
    path = output_dir / "participants.tsv"
    for row in rows(path) if path.is_file() else []:
        if "participant_id" in row and _labelled(row) == participant:
            return {key: value for key, value in row.items() if value != MISSING}
    return {}


def _labelled(row: Row) -> str:
    """Label of a row's participant with its prefix."""
    return f"sub-{row['participant_id'].removeprefix('sub-')}"


def age_of(known: Mapping[tuple[str, str], float], participant: str, session: str) -> float | None:
    """Age at a session, else the participant's age."""
    return known.get((participant, session or MISSING), known.get((participant, MISSING)))


def participants(output_dir: Path) -> list[str]:
    """Participants (`sub-…`) that have a folder of derivatives, in order."""
    return sorted(path.name for path in output_dir.glob("sub-*") if path.is_dir())


def first_text(paths: Sequence[Path]) -> str:
    """Content of the first of several text files that is there; empty where none is."""
    for path in paths:
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return ""
