"""Reads what the participant level left of each scan: its table of scores, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from epvs_bids.errors import BadDataError, EPVSError
from epvs_bids.files import MISSING, read_json

_REMEDY = "run the participant level again for it"


def entity(name: str, key: str) -> str:
    """`key-label` in a file name, or an empty string."""
    return next((part for part in name.split("_") if part.startswith(f"{key}-")), "")


def find_score_tables(output_dir: Path) -> list[Path]:
    """Find every `*_desc-epvs_scores.tsv` under `output_dir`, by name."""
    return sorted(output_dir.glob("sub-*/**/anat/sub-*_desc-epvs_scores.tsv"))


def read_score_table(path: Path) -> list[dict[str, str]]:
    """Read one scan's scores as text, one row a region, with its labels as the first columns.

    Parameters
    ----------
    path : Path
        A `*_desc-epvs_scores.tsv`.

    Returns
    -------
    rows
        `participant_id` (`sub-…`), `session_id` (`ses-…` or `n/a`), `scan` (file name up to `_desc-`) and the
        cells of the table, by column.

    Raises
    ------
    BadDataError
        Where the table can't be read, naming file, row and column.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path}: can't be read ({error}); {_REMEDY}") from error
    header = lines[0].split("\t") if lines else []
    for name in ("region", "score"):
        if name not in header:
            raise BadDataError(f"{path}, column {name}: it is missing; {_REMEDY}")
    labels = {
        "participant_id": entity(path.name, "sub"),
        "session_id": entity(path.name, "ses") or MISSING,
        "scan": path.name.split("_desc-")[0],
    }
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise BadDataError(
                f"{path}, row {number}: {len(cells)} cells where the header has {len(header)}; {_REMEDY}"
            )
        row = labels | dict(zip(header, cells, strict=True))
        if not _is_score(row["score"]):
            raise BadDataError(
                f"{path}, row {number}, column score: {row['score']!r} is not a number; {_REMEDY}"
            )
        rows.append(row)
    return rows


def _is_score(text: str) -> bool:
    """Tell whether a cell is a finite number or `n/a`."""
    try:
        return text == MISSING or abs(float(text)) < float("inf")
    except ValueError:
        return False


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
