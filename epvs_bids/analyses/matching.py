"""Brings scores, ratings and participants together, one row a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.tables import row_in_file
from epvs_bids.errors import BadDataError, CannotRun

MAIN_REGION = "BG"
SCORE_COLUMNS = ("participant_id", "session_id", "scan", "score", "model")
"""What of the scores stands beside the ratings."""
METHOD = "method"
"""What the score is called beside the raters."""
NAMES_SHOWN = 10


@dataclass(frozen=True)
class Matched:
    """A table with one row a scan, and what a reader has to know about the rows that are not in it."""

    table: pd.DataFrame
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class RatedScans(Matched):
    """Scans with a score and a rating; `ratings`: every rated row, with its session as the scores name it."""

    ratings: pd.DataFrame = field(kw_only=True)


def main_region(scores: pd.DataFrame) -> str:
    """Region that ratings are about: the basal ganglia where scored, else the first by name."""
    regions = sorted(scores["region"].dropna().unique())
    return MAIN_REGION if MAIN_REGION in regions or not regions else str(regions[0])


def listed(labels: Sequence[str]) -> str:
    """`3 scans: sub-01, sub-02, sub-03`, with the rest counted where there are many."""
    shown = ", ".join(labels[:NAMES_SHOWN])
    more = f" and {len(labels) - NAMES_SHOWN} more" if len(labels) > NAMES_SHOWN else ""
    return f"{len(labels)} scan{'s' if len(labels) != 1 else ''}: {shown}{more}"


def usable_scores(study: Study, *, region: str | None = None) -> Matched:
    """Scores of one region that passed quality control, at most one scan a participant and session.

    Raises
    ------
    CannotRun
        Where none did.
    BadDataError
        Where a session has scores of two scans.
    """
    wanted = region or main_region(study.scores)
    scores = study.scores[study.scores["region"] == wanted]
    failed = scores[~scores["qc_pass"] | scores["score"].isna()]
    usable = scores.drop(index=failed.index).reset_index(drop=True)
    doubled = usable[usable.duplicated(["participant_id", "session_id"], keep=False)]
    if len(doubled):
        scans = doubled["scan"].tolist()[:2]
        raise BadDataError(
            f"{study.output_dir}: {scans[0]} and {scans[1]} are of one session, where one scan is expected; "
            "remove the scores of one of them"
        )
    if usable.empty:
        raise CannotRun(f"no scan has a score of {wanted} that passed quality control")
    notes = (f"failed quality control, {listed(failed['scan'].tolist())}",) if len(failed) else ()
    return Matched(usable, notes)


def rated_scans(study: Study) -> RatedScans:
    """Join scans with a score and rows of ratings.

    A row of ratings without a session belongs to the participant's only session, and a scan without a
    session to the participant's only row.

    Returns
    -------
    One row a scan: `participant_id`, `session_id`, `scan`, `score`, `model` and the columns of the ratings.

    Raises
    ------
    BadDataError
        Naming file and row, where two sessions were scored (or rated) and the other side names none, or two
        rows are about one scan; naming the column, where the ratings have one with a name of the scores'.
    CannotRun
        Where nothing is scored, nothing rated, or nobody both.
    """
    usable, ratings = usable_scores(study), study.ratings
    scores = usable.table[list(SCORE_COLUMNS)]
    raters = list(ratings.columns[2:])
    _refuse_names_of_results(study.ratings_path, raters)
    # Which session a row is about is decided among all, those that failed quality control included.
    everything = study.scores[study.scores["region"] == main_region(study.scores)]
    rated = with_sessions(study, everything, ratings)
    rated = rated[rated[raters].notna().any(axis=1)]
    table = scores.merge(rated, on=["participant_id", "session_id"], how="inner", validate="one_to_one")
    if table.empty:
        raise CannotRun(f"none of the {len(rated)} rated scans in {study.ratings_path} has a score")
    keys = set(zip(table["participant_id"], table["session_id"], strict=True))
    unscored = [
        " ".join(key).strip()
        for key in zip(rated["participant_id"], rated["session_id"], strict=True)
        if key not in keys
    ]
    notes = (f"rated but without a usable score, {listed(unscored)}",) if unscored else ()
    return RatedScans(table, usable.notes + notes, ratings=rated)


def _refuse_names_of_results(path: Path, raters: Sequence[str]) -> None:
    """Raise where a column of the ratings is called as one of the scores that is put beside it."""
    taken = [name for name in raters if name in (*SCORE_COLUMNS, METHOD)]
    if taken:
        raise BadDataError(
            f"{path}, column {taken[0]}: a result has this name; rename the column, for instance to "
            f"{taken[0]}_A"
        )


def with_sessions(study: Study, scans: pd.DataFrame, ratings: pd.DataFrame) -> pd.DataFrame:
    """Give every row of ratings the session that it is about, in the words of the scans.

    Parameters
    ----------
    scans
        Every scan there is, usable or not: `participant_id` and `session_id`.
    ratings
        Rows of the study's ratings.

    Raises
    ------
    BadDataError
        Naming file and row, where it can't be told, or two rows are about one scan.
    """
    rated = ratings.assign(session_id=_sessions_of_ratings(study, scans, ratings))
    filled = rated[rated[rated.columns[2:]].notna().any(axis=1)]
    doubled = filled[filled.duplicated(["participant_id", "session_id"], keep=False)]
    if doubled.empty:
        return rated
    path, participant, session = study.ratings_path, *doubled.iloc[0][["participant_id", "session_id"]]
    same = doubled.index[doubled["participant_id"] == participant]
    rows = [row_in_file(path, participant, named) for named in ratings.loc[same, "session_id"]]
    raise BadDataError(
        f"{path}, rows {rows[0]} and {rows[1]}, {participant}, column session_id: both are about {session}, "
        "the only session that there is; keep one"
    )


def _sessions_of_ratings(study: Study, scans: pd.DataFrame, ratings: pd.DataFrame) -> list[str]:
    """Session of every row of ratings, in the words of the scans."""
    found, rows = _sessions(scans.drop_duplicates(["participant_id", "session_id"])), _sessions(ratings)
    sessions = []

    def place(participant: str, session: str) -> str:
        row = row_in_file(study.ratings_path, participant, session)
        return f"{study.ratings_path}, row {row}, {participant}, column session_id"

    for participant, session in zip(ratings["participant_id"], ratings["session_id"], strict=True):
        there = found.get(participant, [])
        if session == "" and len(there) > 1:
            raise BadDataError(
                f"{place(participant, session)}: it names none, and there are {len(there)} sessions "
                f"({', '.join(there)}) where one is expected"
            )
        if session != "" and there == [""] and len(rows[participant]) > 1:
            raise BadDataError(
                f"{place(participant, session)}: {len(rows[participant])} sessions where one is expected; "
                "the scan has none"
            )
        only_one = (session == "" and len(there) == 1) or there == [""]
        sessions.append(there[0] if only_one else session)
    return sessions


def _sessions(table: pd.DataFrame) -> dict[str, list[str]]:
    """Sessions of every participant, in the order of the table."""
    found: dict[str, list[str]] = {}
    for participant, session in zip(table["participant_id"], table["session_id"], strict=True):
        found.setdefault(participant, []).append(session)
    return found


def one_a_participant(table: pd.DataFrame) -> Matched:
    """First session of every participant, for analyses that need independent rows."""
    first = table.sort_values(["participant_id", "session_id"]).drop_duplicates("participant_id")
    left_out = len(table) - len(first)
    notes = (f"only the first session of each participant is used; {left_out} later ones are not",)
    return Matched(first.reset_index(drop=True), notes if left_out else ())


def with_site(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Add the column `site` (`--site`) from `participants.tsv`; the table as it is where no site was named.

    Raises `BadDataError` naming file and column where the column is missing, or a participant's cell is
    empty.
    """
    if study.options.site is None:
        return table
    path, people, column = study.participants_path, study.participants, study.options.site
    if column not in people.columns:
        raise BadDataError(f"{path}: there is no column {column} (--site)")
    sites = dict(zip(people["participant_id"], people[column], strict=True))
    values = [sites.get(label) for label in table["participant_id"]]
    for label, value in zip(table["participant_id"], values, strict=True):
        if value is None or pd.isna(value):
            raise BadDataError(f"{path}, participant_id {label}, column {column}: it is empty (--site)")
    return table.assign(site=[str(value) for value in values])
