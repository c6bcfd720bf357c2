"""Reads the tables of a study, and says which file, row and column it can't use."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from epvs_bids.bids.labels import as_known, with_prefix, without_zeros
from epvs_bids.errors import BadDataError, CannotRun, InputOutputError
from epvs_bids.files import read_tsv

LOGGER = logging.getLogger(__name__)

NOT_RATINGS = frozenset(
    {"age", "sex", "site", "scanner", "group", "acq_time", "rated_at", "slice", "seconds"}
)
"""Columns that a table of ratings may hold beside the raters'."""

OPEN_AGE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*\+\s*$")


def bad_cell(path: Path, row: int, column: str, problem: str) -> BadDataError:
    """Make the error for one cell; `row` counts from 0 below the header, the text counts the file's lines."""
    return BadDataError(f"{path}, row {row + 2}, column {column}: {problem}")


def _labelled(path: Path) -> pd.DataFrame:
    """Read a table and put its labels into the columns `participant_id` and `session_id`."""
    frame = read_tsv(path)
    if "participant_id" not in frame.columns:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise BadDataError(
            f"{path}: column participant_id is missing (columns: {found}; tabs must separate them)"
        )
    frame["participant_id"] = [with_prefix(str(value), "sub") for value in frame["participant_id"]]
    sessions = frame["session_id"] if "session_id" in frame.columns else [""] * len(frame)
    frame["session_id"] = [with_prefix(str(value), "ses") for value in sessions]
    for row, label in enumerate(frame["participant_id"]):
        if not label:
            raise bad_cell(path, row, "participant_id", "it is empty")
    return frame


def _refuse_duplicates(path: Path, frame: pd.DataFrame) -> None:
    """Raise where a participant (and session) has two rows."""
    keys = list(zip(frame["participant_id"], frame["session_id"], strict=True))
    first: dict[tuple[str, str], int] = {}
    for row, key in enumerate(keys):
        if key in first:
            name = " ".join(key).strip()
            raise bad_cell(
                path, row, "participant_id", f"{name} is in row {first[key] + 2} already; keep one"
            )
        first[key] = row


def row_in_file(path: Path, participant: str, session: str) -> int:
    """Line of the file, the header being 1, that has a participant (and session; empty for none).

    Labels without leading zeros stand for those with, as `read_ratings` has it; 0 where there is no such row.
    """
    frame = _labelled(path)
    wanted = (without_zeros(participant), session)
    keys = zip(map(without_zeros, frame["participant_id"]), frame["session_id"], strict=True)
    return next((row for row, key in enumerate(keys, start=2) if key == wanted), 0)


def only(frame: pd.DataFrame, participants: Collection[str]) -> pd.DataFrame:
    """Rows of these participants (`sub-…`); all rows where none is named."""
    if not participants:
        return frame
    return frame[frame["participant_id"].isin(list(participants))].reset_index(drop=True)


def known_participants(bids_dir: Path | None) -> frozenset[str]:
    """Labels (`sub-…`) of the rows of `participants.tsv` and of the folders of `bids_dir`."""
    if bids_dir is None or not bids_dir.is_dir():
        return frozenset()
    try:
        labels = {path.name for path in bids_dir.iterdir() if path.name.startswith("sub-") and path.is_dir()}
    except OSError as error:
        raise InputOutputError(f"{bids_dir}: can't be listed ({error.strerror})") from error
    if (bids_dir / "participants.tsv").is_file():
        labels.update(_labelled(bids_dir / "participants.tsv")["participant_id"])
    return frozenset(labels)


def read_participants(path: Path) -> pd.DataFrame:
    """Read `participants.tsv`, one row a participant; see `base.Study.participants`."""
    if not path.is_file():
        raise CannotRun(f"there is no {path}")
    frame = _labelled(path)
    _refuse_duplicates(path, frame.assign(session_id=""))
    return frame.drop(columns="session_id")


def read_ratings(path: Path, *, known: Collection[str], drop_unusable: bool = False) -> pd.DataFrame:
    """Read a table of visual ratings.

    A column is a rater's unless it is named in `NOT_RATINGS` or holds no number at all.

    Parameters
    ----------
    path
        Tab-separated: `participant_id`, optional `session_id`, one column a rater.
    known
        Participants of the data set; empty where nothing says who is in it.
    drop_unusable
        Leave out cells with text or negative counts, and unknown participants, with a warning.

    Returns
    -------
    `participant_id`, `session_id` (may be empty), one float column a rater with NaN for `n/a`.

    Raises
    ------
    CannotRun
        Where there is no such file.
    BadDataError
        Naming file, row and column: doubled rows, unknown participants, text or negative counts in a rater's
        column, no rater.
    """
    if not path.is_file():
        raise CannotRun(f"there are no visual ratings: {path} does not exist; give --ratings FILE")
    frame = _match_labels(path, _labelled(path), known, drop_unusable=drop_unusable)
    _refuse_duplicates(path, frame)
    ratings = frame[["participant_id", "session_id"]].copy()
    for name in frame.columns:
        if name not in ratings.columns and str(name).lower() not in NOT_RATINGS:
            column = _numeric(path, frame[name], str(name), drop_unusable=drop_unusable)
            if column is not None:
                ratings[str(name)] = column
    if ratings.shape[1] == 2:
        raise BadDataError(f"{path}: no column holds ratings; one column of counts a rater is expected")
    return ratings.reset_index(drop=True)


def _match_labels(
    path: Path, frame: pd.DataFrame, known: Collection[str], *, drop_unusable: bool
) -> pd.DataFrame:
    """Check labels against the data set; `sub-1` stands for `sub-01` where only one participant fits."""
    if not known:
        return frame
    read = as_known(known)
    labels, unknown = [], []
    for row, written in enumerate(frame["participant_id"]):
        label = read(written)
        if label != written:
            LOGGER.warning("%s, row %d: %s taken for %s", path, row + 2, written, label)
        if label not in known:
            unknown.append(row)
            error = bad_cell(path, row, "participant_id", f"{label} is not in the data set")
            if not drop_unusable:
                raise error
            LOGGER.warning("%s; left out", error)
        labels.append(label)
    return frame.assign(participant_id=labels).drop(index=frame.index[unknown])


def _numeric(path: Path, column: pd.Series, name: str, *, drop_unusable: bool) -> pd.Series | None:
    """One rater's column as floats; None where no cell is a number, which makes it a column of notes."""
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    if column.notna().any() and numbers.isna().all():
        LOGGER.info("%s: column %s holds no number and is not used", path, name)
        return None
    text = numbers.isna() & column.notna()
    unusable = text | (numbers < 0) | np.isinf(numbers)
    for row in np.flatnonzero(unusable):
        value = column.iloc[row]
        problem = f"{value!r} is not a number" if text.iloc[row] else f"{value} is no possible count"
        error = bad_cell(path, int(column.index.to_numpy()[row]), name, problem)
        if not drop_unusable:
            raise error
        LOGGER.warning("%s; left out", error)
    return numbers.mask(unusable)


def rater_columns(
    ratings: pd.DataFrame, path: Path, *, rater: str | None, site: str | None
) -> tuple[str, ...]:
    """Names of the raters, the reference first: `rater`, else the first; Potter categories are not counts.

    Raises `BadDataError` where `rater` is no column, or where every one of the reference's ratings is zero
    or missing.
    """
    names = [name for name in ratings.columns[2:] if name != site and "potter" not in name.lower()]
    if rater is not None and rater not in names:
        raise BadDataError(
            f"{path}: there is no rater's column {rater} (--rater); there are {', '.join(names)}"
        )
    if not names:
        raise CannotRun(f"{path} has no column of counts")
    reference = rater or names[0]
    values = ratings[reference].dropna()
    if values.empty:
        raise BadDataError(f"{path}, column {reference}: every rating is missing")
    if not values.any():
        raise BadDataError(
            f"{path}, column {reference}: all {len(values)} ratings are zero, nothing can agree with them"
        )
    return (reference, *[name for name in names if name != reference])


def parse_ages(
    ages: pd.Series, participants: pd.Series, path: Path, *, cap: float | None, strict: bool
) -> tuple[pd.Series, list[str]]:
    """Ages in years from the column `age` of `participants.tsv`.

    Parameters
    ----------
    ages, participants
        The columns, one row a participant, indexed from 0.
    path
        Named in errors.
    cap
        What `89+` counts as; None refuses it.
    strict
        Whether a missing age is an error rather than a participant left out.

    Returns
    -------
    Ages as floats, NaN where missing, and a note for each participant without one.

    Raises
    ------
    BadDataError
        Naming file, row and column.
    """
    values, notes = [], []
    for row, (age, label) in enumerate(zip(ages, participants, strict=True)):
        if pd.isna(age):
            error = bad_cell(path, row, "age", f"{label} has none")
            if strict:
                raise error
            notes.append(f"{error}; left out")
        values.append(_age(age, path, row, cap))
    for note in notes:
        LOGGER.warning(note)
    return pd.Series(values, index=ages.index, dtype=float), notes


def _age(age: object, path: Path, row: int, cap: float | None) -> float:
    """One age in years; NaN where missing."""
    if pd.isna(age):  # type: ignore[call-overload]
        return float("nan")
    if OPEN_AGE.match(str(age)):
        if cap is None:
            raise bad_cell(
                path, row, "age", f"{age!r} is not a number; say what it counts as with --age-cap YEARS"
            )
        return cap
    try:
        value = float(str(age))
    except ValueError:
        raise bad_cell(path, row, "age", f"{age!r} is not a number") from None
    if not 0 <= value < 150:
        raise bad_cell(path, row, "age", f"{age} is no age in years")
    return value
