"""The files that come out: the table of counts and the marks of each scan, merged with what is there."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epvs_bids.bids.labels import as_known, with_prefix
from epvs_bids.errors import BadDataError
from epvs_bids.files import MISSING, cannot_create, make_folder, read_json, read_tsv, write_json, write_text
from epvs_bids.reports.rating.slab import Point

LOGGER = logging.getLogger(__name__)
MARKER_COLUMNS = ("x", "y", "z", "rater")
LABELS = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session; n/a where the participant has none"},
}
MARKER_DESCRIPTION = {
    "x": {"Description": "Position of a marked EPVS, scanner RAS", "Units": "mm"},
    "y": {"Description": "Position of a marked EPVS, scanner RAS", "Units": "mm"},
    "z": {"Description": "Position of a marked EPVS, scanner RAS", "Units": "mm"},
    "rater": {
        "Description": "Column of phenotype/epvs.tsv that counts this mark: rater and number of the reading"
    },
}


@dataclass(frozen=True)
class Table:
    """A table as text, so that nothing that others wrote changes its spelling."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]

    def text(self) -> str:
        """Tab-separated, `n/a` where a row lacks a column."""
        lines = [self.columns] + [tuple(row.get(name, MISSING) for name in self.columns) for row in self.rows]
        return "".join("\t".join(line) + "\n" for line in lines)


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Read a table as text; where there is none, an empty one with `columns`.

    Raises
    ------
    BadDataError
        When it is no table, or lacks one of `columns`.
    """
    if not path.exists():
        return Table(tuple(columns), ())
    read_tsv(path)  # for its checks
    lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    header = tuple(lines[0].split("\t"))
    missing = [name for name in columns if name not in header]
    if missing:
        raise BadDataError(f"{path}: column {missing[0]} is missing. Add it or move the file away.")
    return Table(header, tuple(dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]))


def _rows_of_people(table: Table, known: Collection[str]) -> dict[str, list[tuple[int, str]]]:
    """Index and session of every row, by participant; `1` stands for `sub-01` where only that one fits."""
    read = as_known(known)
    found: dict[str, list[tuple[int, str]]] = {}
    for index, row in enumerate(table.rows):
        person = read(with_prefix(row["participant_id"], "sub"))
        found.setdefault(person, []).append((index, with_prefix(row.get("session_id", ""), "ses")))
    return found


def find_rows(table: Table, sessions: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
    """Find the rows of scans, as the group level does.

    A row without a session belongs to the participant's only session, and a scan without a session to the
    participant's only row.

    Parameters
    ----------
    table
        Table of counts, with `participant_id`.
    sessions
        For each participant of the data set (`sub-…`) the sessions to rate: `ses-…`, or an empty string.

    Returns
    -------
    Index of the row by participant and session, for those that have one.

    Raises
    ------
    BadDataError
        When a scan has two rows.
    """
    people = _rows_of_people(table, sessions)
    found = {}
    for participant, session in ((person, one) for person, theirs in sessions.items() for one in theirs):
        rows = people.get(participant, [])
        mine = [index for index, there in rows if there == session]
        if not mine and len(sessions[participant]) == 1 and (session or len(rows) == 1):
            mine = [index for index, there in rows if not (there and session)]
        if len(mine) > 1:
            scan = f"{participant} {session}".rstrip()
            pair = f"Rows {mine[0] + 2} and {mine[1] + 2}"
            raise BadDataError(f"{pair} of the table of ratings are both of {scan}. Remove one.")
        if mine:
            found[participant, session] = mine[0]
    return found


def with_count(
    table: Table, row: int | None, *, participant_id: str, session_id: str, column: str, value: str
) -> Table:
    """Set one cell, adding the row and the columns that it needs; every other cell stays as it is.

    Parameters
    ----------
    table
        Table of counts, with `participant_id`.
    row
        Index of the scan's row, from `find_rows`; None adds one.
    participant_id, session_id
        `sub-…`, and `ses-…` or an empty string.
    column
        Rater and number of the reading.
    value
        The count, or `n/a`.
    """
    columns = list(table.columns)
    if row is None and session_id and "session_id" not in columns:
        columns.insert(columns.index("participant_id") + 1, "session_id")
    if column not in columns:
        columns.append(column)
    rows = list(table.rows)
    if row is None:
        rows.append({"participant_id": participant_id, "session_id": session_id or MISSING, column: value})
    else:
        rows[row] = {**rows[row], column: value}
    return Table(tuple(columns), tuple(rows))


def to_scanner(marks: Sequence[Point], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take template points to the scanner.

    Parameters
    ----------
    marks
        Template millimetres, RAS.
    matrix
        (4, 4), template RAS mm to scanner RAS mm.

    Returns
    -------
    (n, 3), scanner RAS mm.
    """
    points = np.asarray(marks, np.float64).reshape(-1, 3)
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def with_marks(table: Table, *, column: str, points: NDArray[np.float64]) -> Table:
    """Replace the marks of one reading; those of others stay as they are."""
    kept = [row for row in table.rows if row["rater"] != column]
    texts = [[f"{value:.3f}" for value in point] for point in points]
    new = [dict(zip(MARKER_COLUMNS, (*text, column), strict=True)) for text in texts]
    return Table(table.columns, (*kept, *new))


def count_description(rater: str, number: int) -> dict[str, str]:
    """Describe a column of counts for the data dictionary."""
    which = "first" if number == 1 else "second (blind repeat of some scans)"
    return {
        "Description": f"EPVS in the basal ganglia counted by rater {rater}, {which} reading, in the axial "
        f"slice through the anterior commissure, with epvs-rate; {MISSING}: not read, or not readable",
        "Units": "count",
    }


def write_counts(path: Path, table: Table, descriptions: Mapping[str, Mapping[str, str]]) -> None:
    """Write the table of counts and add to its data dictionary what that lacks."""
    dictionary_path = path.with_suffix(".json")
    dictionary = read_json(dictionary_path) if dictionary_path.exists() else {}
    labels = {name: LABELS[name] for name in table.columns if name in LABELS}
    write_json(dictionary_path, {**labels, **dictionary, **descriptions})
    write_text(path, table.text())


def write_marks(path: Path, table: Table) -> None:
    """Write the marks of a scan and their data dictionary."""
    write_json(path.with_suffix(".json"), MARKER_DESCRIPTION)
    write_text(path, table.text())


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file, so that raters who work at one time do not undo each other's rows.

    A file system that has no locks is worked on without, as by the participant level.

    Parameters
    ----------
    path
        The lock file; it stays, empty.
    wait
        Wait for another process that holds it; without, yield False at once.

    Raises
    ------
    CannotCreateError
        When the lock file can't be made.
    """
    make_folder(path.parent)
    try:
        handle = path.open("a")
    except OSError as error:
        raise cannot_create(path, error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held = False
        except OSError as error:
            # Each session takes a lock of its own without waiting: one warning a rater is enough.
            level = logging.DEBUG if wait else logging.WARNING
            LOGGER.log(level, "No lock on %s (%s): run only one epvs-rate at a time on it.", path, error)
            held = True
        else:
            held = True
        yield held
