"""What the columns of the group tables mean: the data dictionary beside each of them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from epvs_bids.bids.derivatives import SCORE_DICTIONARY

COUNT = {"Units": "EPVS"}

COMMON: dict[str, dict[str, object]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session; n/a where the data set has none"},
    "scan": {"Description": "File name of the scan up to its description"},
    **SCORE_DICTIONARY,
    "age": {"Description": "Age in participants.tsv; n/a where it is no number", "Units": "year"},
    "analysis": {"Description": "Analysis"},
    "status": {
        "Description": "What became of it",
        "Levels": {"done": "ran", "skipped": "the data do not allow it", "failed": "ended in an error"},
    },
    "reason": {"Description": "Why"},
    "summary": {"Description": "Main numbers"},
    "seconds": {"Description": "Time that it took", "Units": "s"},
    "site": {"Description": "Site or scanner"},
    "rater": {"Description": "Column of the ratings"},
    "reference": {"Description": "Visual count of the reference rater", **COUNT},
    "method": {"Description": "Method, or series of ratings"},
    "first": {"Description": "First series"},
    "second": {"Description": "Second series"},
    "subset": {"Description": "Which scans"},
    "n": {"Description": "Number of scans"},
    "n_participants": {"Description": "Number of participants"},
    "measure": {"Description": "What was measured"},
    "value": {"Description": "Its value"},
    "ci_low": {"Description": "Lower limit of the 95 % confidence interval"},
    "ci_high": {"Description": "Upper limit of the 95 % confidence interval"},
    "ci_method": {"Description": "How the confidence interval was computed"},
    "pearson": {"Description": "Pearson's correlation"},
    "spearman": {"Description": "Spearman's rank correlation"},
    "icc11": {"Description": "Intraclass correlation ICC(1,1): one-way random, absolute agreement"},
    "icc21": {"Description": "Intraclass correlation ICC(2,1): two-way random, absolute agreement"},
    "icc31": {"Description": "Intraclass correlation ICC(3,1): two-way mixed, consistency"},
    "mse": {"Description": "Mean squared error", "Units": "EPVS²"},
    "p": {"Description": "Two-sided p value"},
    "aic": {"Description": "Akaike's information criterion; smaller is better"},
}  # fmt: skip
"""Descriptions of the columns that several tables share."""


def describe(table: pd.DataFrame, own: Mapping[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    """Make the data dictionary of a table: its own descriptions first, then the common ones.

    `<name>_low` and `<name>_high` are described as the limits of `<name>`.
    """
    return {str(name): _describe_one(str(name), own) for name in table.columns}


def _describe_one(name: str, own: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    for known in (own, COMMON):
        if name in known:
            return known[name]
    for suffix, side in (("_low", "Lower"), ("_high", "Upper")):
        if name.endswith(suffix):
            base = _describe_one(name.removesuffix(suffix), own).get("Description", "")
            return {"Description": f"{side} limit of the 95 % confidence interval of: {base}"}
    return {"Description": name.replace("_", " ").replace("-", " ")}
