"""What the pages are made of: files below the output folder, and nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from epvs_bids.bids.labels import with_prefix
from epvs_bids.bids.scores import entity, failed_scans, find_score_tables, read_score_table
from epvs_bids.errors import EPVSError
from epvs_bids.files import MISSING, read_json, read_tsv

_LOGGER = logging.getLogger(__name__)

Row = dict[str, str]
"""A row of a table as text, by column."""

_SPACE = r"space-(?P<space>[A-Za-z0-9]+)"
_BOX = rf"{_SPACE}_res-05"
_CONTRAST = r"(?P<suffix>[A-Za-z0-9]+)\.nii\.gz"
_ROLES = {
    "head": re.compile(rf"{_SPACE}_res-1_desc-preproc_{_CONTRAST}"),
    "scan": re.compile(rf"{_BOX}_desc-preproc_{_CONTRAST}"),
    "mask": re.compile(rf"{_BOX}_label-BG_desc-smooth_probseg\.nii\.gz"),
    "region": re.compile(rf"{_BOX}_label-BG_desc-roi_{_CONTRAST}"),
    "saliency": re.compile(rf"{_BOX}_label-BG_desc-saliency_{_CONTRAST}"),
    "saliency_sidecar": re.compile(rf"{_BOX}_label-BG_desc-saliency_(?P<suffix>[A-Za-z0-9]+)\.json"),
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
        Template of the derivatives (`scanner` without one) and contrast (`PDw`, `T2w`) of the score, else of
        the images; empty without either.
    """

    name: str
    participant: str
    session: str
    files: Mapping[str, Path] = field(default_factory=dict)
    space: str = ""
    suffix: str = ""


def find_scans(output_dir: Path, participant: str) -> list[Scan]:
    """Find the scans of a participant (`sub-…`), by session and name.

    Where a scan has images of two contrasts or in two spaces, those that its score was made of are taken.
    """
    found: dict[str, list[_File]] = {}
    for path in sorted((output_dir / participant).glob("**/anat/*")):
        stem = _RAW_ENTITIES.match(path.name)
        if stem is None:
            continue
        for role, pattern in _ROLES.items():
            if match := pattern.fullmatch(path.name[stem.end() + 1 :]):
                found.setdefault(stem.group(), []).append(_File(role, path, match.groupdict()))
    return [_scan(name, participant, files) for name, files in sorted(found.items())]


class _File(NamedTuple):
    """A file of a scan, and what its name says of space and suffix."""

    role: str
    path: Path
    labels: Mapping[str, str]


def _scan(name: str, participant: str, files: Sequence[_File]) -> Scan:
    """Choose the files that belong to the score, or else to the last image by name."""
    chosen: dict[str, str] = {}
    for file in files:
        chosen.update(file.labels)
    for file in files:
        if file.role == "sidecar":
            chosen.update(_scored(name, content(file.path)))
    fitting = {
        file.role: file.path
        for file in files
        if all(chosen[key] == label for key, label in file.labels.items())
    }
    return Scan(name=name, participant=participant, session=entity(name, "ses"), files=fitting, **chosen)


def _scored(name: str, sidecar: Mapping[str, Any]) -> dict[str, str]:
    """Space and suffix of the region that a score was made of, as its sidecar says; empty without."""
    sources = sidecar.get("Sources")
    for source in sources if isinstance(sources, list) else []:
        file = unquote(str(source)).rpartition("/")[2]
        if match := _ROLES["region"].fullmatch(file.removeprefix(f"{name}_")):
            return match.groupdict()
    return {}


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


def group_scores(output_dir: Path) -> Sequence[Row]:
    """Scores that the group level read, as its table has them; without the table, as `cohort`."""
    table = output_dir / "group_scores.tsv"
    return rows(table) if table.is_file() else cohort(output_dir)


def cohort(output_dir: Path) -> Sequence[Row]:
    """All scores of the study as they are now, from the table of each scan.

    Rows have `participant_id`, `session_id`, `scan`, `region`, `score` and what else the tables hold; those
    of scans that failed when they were run again do not pass quality control. Tables are read once for all
    pages of a process, and again when one has changed; one that can't be read is logged and left out.
    """
    failed = failed_scans(output_dir)
    read = _gathered(tuple((path, _state(path)) for path in find_score_tables(output_dir)))
    return [{**row, "qc_pass": "false"} if row["scan"] in failed else row for row in read]


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file; zeros where it can't be looked at, which reading it will complain of."""
    try:
        facts = path.stat()
    except OSError:
        return (0, 0)
    return (facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1)
def _gathered(tables: tuple[tuple[Path, tuple[int, int]], ...]) -> Sequence[Row]:
    gathered = []
    for path, _ in tables:
        try:
            gathered += read_score_table(path)
        except EPVSError as error:
            _LOGGER.warning("%s", error)
    return gathered


def ages(output_dir: Path) -> dict[tuple[str, str], float]:
    """Age in years by participant and session (`n/a` where `participants.tsv` has none)."""
    found: dict[tuple[str, str], float] = {}
    path = output_dir / "participants.tsv"
    for row in rows(path) if path.is_file() else []:
        age = number(row.get("age"))
        if age is not None and "participant_id" in row:
            found[with_prefix(row["participant_id"], "sub"), row.get("session_id", MISSING)] = age
    return found


def person(output_dir: Path, participant: str) -> Row:
    """Row of `participants.tsv` of a participant (`sub-…`), without missing values; empty where none is."""
    path = output_dir / "participants.tsv"
    for row in rows(path) if path.is_file() else []:
        if "participant_id" in row and with_prefix(row["participant_id"], "sub") == participant:
            return {key: value for key, value in row.items() if value != MISSING}
    return {}


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
