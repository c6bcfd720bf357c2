"""`raters`: agreement between raters, their repeat ratings, and the method (Table 2 of the paper)."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from epvs_bids.analyses.agreement import MEASURES
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.matching import METHOD, rated_scans
from epvs_bids.analyses.model_split import seen_in_training
from epvs_bids.errors import CannotRun
from epvs_bids.reports.rating.session import is_a_name
from epvs_bids.statistics.agreement import agreement

NAME = "raters"
FEW = 4
"""Pairs of a kind that the summary lists one by one at most; the table has all."""

DESCRIPTIONS: dict[str, Description] = {
    "first": {"Description": "Column of the ratings"},
    "second": {"Description": "Column of the ratings, or `method` for the score"},
    "kind": {
        "Description": "What the pair tells",
        "Levels": {
            "intra-rater": "two ratings by one rater",
            "inter-rater": "two raters",
            "method": "a rater and the score",
        },
    },
}


def person(column: str) -> str:
    """Whose ratings a column holds: its name without the number of the reading (`B1` and `B2` are of `B`).

    Where nothing is left that names anyone, the number tells people apart: `rater1`, `rater2`.
    """
    name = re.sub(r"[_-]?(?:rating|reading|repeat|retest)[_-]?\d*$", "", column)
    if name and name != column:
        return name
    name = re.sub(r"[_-]?\d*$", "", column)
    return name if is_a_name(name) else column


def kind_of_pair(first: str, second: str) -> str:
    """Say whether a pair of columns is of one rater, of two, or of a rater and the method."""
    if METHOD in (first, second):
        return "method"
    return "intra-rater" if person(first) == person(second) else "inter-rater"


def pair_rows(table: pd.DataFrame, columns: list[str], seed: int) -> pd.DataFrame:
    """One row a pair with at least 3 scans in common, all measures with their intervals."""
    rows = []
    for first, second in combinations(columns, 2):
        both = table[table[first].notna() & table[second].notna()]
        if len(both) < 3 or (both[first].nunique() == 1 and both[second].nunique() == 1):
            continue
        result = agreement(both[first], both[second], participants=both["participant_id"], seed=seed)
        row: dict[str, object] = {
            "first": first,
            "second": second,
            "kind": kind_of_pair(first, second),
            "n": result.n,
        }
        for name in MEASURES:
            row |= getattr(result, name).columns(name)
        rows.append(row)
    return pd.DataFrame(rows)


def icc_matrix(pairs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Lower triangle of ICC(1,1), laid out as Table 2 of the paper: one row and one column a series."""
    values = {(row.first, row.second): row.icc11 for row in pairs.itertuples()}
    rows = [
        {"series": second, **{first: values.get((first, second)) for first in columns[:index]}}
        for index, second in enumerate(columns)
        if index
    ]
    return pd.DataFrame(rows, columns=["series", *columns[:-1]])


def _with_method(study: Study) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Ratings with the score beside them as `method`, the columns to compare, and notes."""
    matched = rated_scans(study)
    keys = ["participant_id", "session_id"]
    scores = matched.table[[*keys, "score"]].rename(columns={"score": METHOD})
    table = matched.ratings.merge(scores, on=keys, how="left")
    _, notes = seen_in_training(study, matched.table)
    return table, [*study.raters, METHOD], [*matched.notes, *notes]


def run(study: Study) -> AnalysisResult:
    """Compare every pair of raters, repeat ratings and the method; see the module."""
    raters = list(study.raters)
    try:
        table, columns, notes = _with_method(study)
    except CannotRun as reason:
        table, columns = study.ratings, raters
        notes = [f"the method is not compared: {reason}"]
    if len(raters) < 2:
        raise CannotRun(
            f"{study.ratings_path} holds one rater only, column {raters[0]}; a second column is needed"
        )
    pairs = pair_rows(table, columns, study.options.seed)
    if pairs.empty:
        raise CannotRun(f"{study.ratings_path}: no two raters rated 3 scans in common")
    matrix = icc_matrix(pairs, columns)
    return AnalysisResult(
        NAME,
        tables={"": pairs.round(5), "icc11": matrix.round(3)},
        descriptions=DESCRIPTIONS | {"series": {"Description": "Row of the matrix of ICC(1,1)"}},
        summary=_summary(pairs),
        numbers={
            f"{row.first}–{row.second}": [row.icc11, row.icc11_low, row.icc11_high]
            for row in pairs.itertuples()
        },
        notes=notes,
    )


def _summary(pairs: pd.DataFrame) -> str:
    """ICC(1,1) by kind of pair: each pair where they are few, else the lowest and the highest."""
    parts = []
    for kind, group in pairs.groupby("kind", sort=False):
        ordered = list(group.sort_values("icc11", kind="stable").itertuples())
        if len(ordered) <= FEW:
            text = "; ".join(_pair(row) for row in group.itertuples())
        else:
            text = (
                f"{len(ordered)} pairs, from {_pair(ordered[0])} to {_pair(ordered[-1])}, "
                f"median {group['icc11'].median():.2f}"
            )
        parts.append(f"{str(kind).capitalize()}: {text}.")
    return " ".join(["ICC(1,1) with 95 % intervals.", *parts])


def _pair(row: Any) -> str:  # noqa: ANN401 - pandas makes its row classes as it goes
    """Value of a pair with its interval, which equal ratings do not have."""
    interval = f"{row.icc11_low:.2f} to {row.icc11_high:.2f}, " if np.isfinite(row.icc11_low) else ""
    return f"{row.icc11:.2f} ({row.first} with {row.second}: {interval}n = {row.n})"
