"""`agreement`: how far the score agrees with the visual count (Table 1 and Fig. 6 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, Study
from epvs_bids.analyses.matching import rated_scans, with_site
from epvs_bids.analyses.model_split import seen_in_training
from epvs_bids.analyses.site import harmonised
from epvs_bids.errors import CannotRun
from epvs_bids.statistics.agreement import Agreement, BlandAltman, agreement, bland_altman
from epvs_bids.statistics.icc import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "agreement"

FEW = 20
"""Section 3.4 of the paper repeats its measures for scans with at most so many EPVS."""

UNSEEN = "not seen in training"
"""Subset of the scans that the network neither trained nor validated on, where it did so on others."""

MEASURES = ("pearson", "spearman", "icc11", "icc21", "icc31", "mse")
CI_METHODS = {"icc11": "F", "icc21": "F", "icc31": "F"}

DESCRIPTIONS = {
    "rater": {"Description": "Column of the ratings that the score is compared with"},
    "subset": {
        "Description": f"Which scans; {UNSEEN}: those that the network neither trained nor validated on"
    },
    "bias": {"Description": "Mean of score minus visual count", "Units": "EPVS"},
    "sd": {"Description": "Standard deviation of score minus visual count", "Units": "EPVS"},
    "lower": {"Description": "Lower limit of agreement, bias − 1.96 SD", "Units": "EPVS"},
    "upper": {"Description": "Upper limit of agreement, bias + 1.96 SD", "Units": "EPVS"},
}


def measure_rows(result: Agreement, **labels: object) -> list[dict[str, object]]:
    """One row a measure: labels, value, interval and how it was computed."""
    rows = []
    for name in MEASURES:
        estimate: Estimate = getattr(result, name)
        rows.append(
            {
                **labels,
                "n": result.n,
                "measure": name,
                "value": estimate.value,
                "ci_low": estimate.low,
                "ci_high": estimate.high,
                "ci_method": CI_METHODS.get(name, "bootstrap by participant"),
            }
        )
    return rows


def _subsets(table: pd.DataFrame, rater: str, seen: NDArray[np.bool_]) -> dict[str, pd.DataFrame]:
    """All scans, those that the network did not learn from, those with few EPVS, and each site."""
    subsets = {"all": table} | ({UNSEEN: table[~seen]} if seen.any() else {})
    subsets |= {f"at most {FEW} EPVS": table[table[rater] <= FEW]}
    if "site" in table.columns:
        subsets |= {f"site {site}": group for site, group in table.groupby("site")}
    return subsets


def compare(
    table: pd.DataFrame, rater: str, seen: NDArray[np.bool_], seed: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Measures and Bland–Altman statistics of `score` against one rater, for every subset of 3 or more.

    `seen` has one value a row of the table: whether the network learned from the scan.
    """
    measures: list[dict[str, object]] = []
    limits: list[dict[str, object]] = []
    rated = table[rater].notna().to_numpy()
    for subset, rows in _subsets(table[rated], rater, seen[rated]).items():
        if len(rows) < 3 or np.ptp(rows[rater]) == 0:
            continue
        labels = {"rater": rater, "subset": subset}
        result = agreement(rows[rater], rows["score"], participants=rows["participant_id"], seed=seed)
        measures += measure_rows(result, **labels)
        spread = bland_altman(rows[rater], rows["score"])
        row: dict[str, object] = {**labels, "n": spread.n, "sd": spread.sd}
        for name in ("bias", "lower", "upper"):
            row |= getattr(spread, name).columns(name)
        limits.append(row)
    return measures, limits


def run(study: Study) -> AnalysisResult:
    """Compare the scores with every rater; see the module."""
    matched = rated_scans(study)
    table, site_notes = harmonised(study, with_site(study, matched.table))
    seen, seen_notes = seen_in_training(study, table)
    found = [compare(table, rater, seen, study.options.seed) for rater in study.raters]
    reference = study.raters[0]
    rated = table[table[reference].notna()]
    if not found[0][0]:
        raise CannotRun(
            f"only {len(rated)} scans have a score and a rating by {reference}; 3 that differ are needed"
        )
    main = {(str(row["subset"]), str(row["measure"])): row for row in found[0][0]}
    statistics = bland_altman(rated[reference], rated["score"])
    return AnalysisResult(
        NAME,
        tables={
            "": pd.DataFrame([row for measures, _ in found for row in measures]).round(5),
            "bland-altman": pd.DataFrame([row for _, limits in found for row in limits]).round(5),
        },
        descriptions=DESCRIPTIONS,
        figures=_figures(rated[reference], rated["score"], statistics),
        summary=_summary(main, reference, statistics),
        numbers={
            measure: [row["value"], row["ci_low"], row["ci_high"]]
            for (subset, measure), row in main.items()
            if subset == "all"
        }
        | {"n": len(rated), "rater": reference},
        notes=[*matched.notes, *site_notes, *seen_notes],
    )


def _figures(rating: pd.Series, score: pd.Series, limits: BlandAltman) -> dict[str, Callable[[], Figure]]:
    """Scatter plot, Bland–Altman plot and distributions of the reference rater's counts and the score."""
    name = f"rater {rating.name}"
    return {
        "scatter": lambda: plots.scatter(rating, {"score": score}, reference_name=name),
        "bland-altman": lambda: plots.bland_altman_plot(rating, score, limits, labels=(name, "score")),
        "distribution": lambda: plots.distribution({name: rating, "score": score}),
    }


def _summary(
    main: Mapping[tuple[str, str], Mapping[str, object]], reference: str, limits: BlandAltman
) -> str:
    """Say the numbers of the reference rater, and the ICC without the scans that the network learned from."""

    def text(name: str, subset: str = "all") -> str:
        row = main[subset, name]
        return f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"

    bias, sd = limits.bias.value, limits.sd
    sentence = (
        f"Against rater {reference} in {limits.n} scans: Pearson {text('pearson')}, Spearman "
        f"{text('spearman')}, ICC(1,1) {text('icc11')}, ICC(2,1) {text('icc21')}, ICC(3,1) {text('icc31')}, "
        f"MSE {text('mse')}; bias {bias:+.2f} EPVS, limits of agreement "
        f"{bias - 1.96 * sd:.2f} to {bias + 1.96 * sd:.2f} (95 % intervals in brackets)."
    )
    if (UNSEEN, "icc11") not in main:
        return sentence
    n, icc = main[UNSEEN, "icc11"]["n"], text("icc11", UNSEEN)
    return f"{sentence} In the {n} of them that the network did not learn from: ICC(1,1) {icc}."
