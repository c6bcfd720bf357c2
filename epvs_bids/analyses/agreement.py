"""`agreement`: how far the score agrees with the visual count (Table 1 and Fig. 6 of the paper)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, CannotRun, Study
from epvs_bids.analyses.matching import rated_scans, with_site
from epvs_bids.analyses.site import harmonised
from epvs_bids.statistics.agreement import Agreement, agreement, bland_altman
from epvs_bids.statistics.icc import Estimate

NAME = "agreement"

FEW = 20
"""Section 3.4 of the paper repeats its measures for scans with at most so many EPVS."""

MEASURES = ("pearson", "spearman", "icc11", "icc21", "icc31", "mse")
CI_METHODS = {"icc11": "F", "icc21": "F", "icc31": "F"}

DESCRIPTIONS = {
    "rater": {"Description": "Column of the ratings that the score is compared with"},
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


def _subsets(table: pd.DataFrame, rater: str) -> dict[str, pd.DataFrame]:
    """All scans, those with few EPVS, and each site."""
    subsets = {"all": table, f"at most {FEW} EPVS": table[table[rater] <= FEW]}
    if "site" in table.columns:
        subsets |= {f"site {site}": group for site, group in table.groupby("site")}
    return subsets


def compare(
    table: pd.DataFrame, rater: str, seed: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Measures and Bland–Altman statistics of `score` against one rater, for every subset of 3 or more."""
    measures: list[dict[str, object]] = []
    limits: list[dict[str, object]] = []
    for subset, rows in _subsets(table[table[rater].notna()], rater).items():
        if len(rows) < 3 or np.ptp(rows[rater]) == 0:
            continue
        labels = {"rater": rater, "subset": subset}
        result = agreement(rows[rater], rows["score"], participants=rows["participant_id"], seed=seed)
        measures += measure_rows(result, **labels)
        plain = dataclasses.asdict(bland_altman(rows[rater], rows["score"]))
        flat = {"n": plain["n"], "sd": plain["sd"]}
        for name in ("bias", "lower", "upper"):
            flat |= {name: plain[name]["value"]}
            flat |= {f"{name}_low": plain[name]["low"], f"{name}_high": plain[name]["high"]}
        limits.append(labels | flat)
    return measures, limits


def run(study: Study) -> AnalysisResult:
    """Compare the scores with every rater; see the module."""
    matched = rated_scans(study)
    table, notes = harmonised(study, with_site(study, matched.table))
    measures: list[dict[str, object]] = []
    limits: list[dict[str, object]] = []
    for rater in study.raters:
        more_measures, more_limits = compare(table, rater, study.options.seed)
        measures += more_measures
        limits += more_limits
    reference = study.raters[0]
    rated = table[table[reference].notna()]
    if not measures or not any(row["rater"] == reference for row in measures):
        raise CannotRun(
            f"only {len(rated)} scans have a score and a rating by {reference}; 3 that differ are needed"
        )
    result = pd.DataFrame(measures)
    main: pd.DataFrame = result[(result["rater"] == reference) & (result["subset"] == "all")].set_index(
        "measure"
    )
    statistics = bland_altman(rated[reference], rated["score"])
    return AnalysisResult(
        NAME,
        tables={"": result.round(5), "bland-altman": pd.DataFrame(limits).round(5)},
        descriptions=DESCRIPTIONS,
        figures={
            "scatter": lambda: plots.scatter(
                rated[reference], {"score": rated["score"]}, reference_name=f"rater {reference}"
            ),
            "bland-altman": lambda: plots.bland_altman_plot(
                rated[reference], rated["score"], statistics, labels=(f"rater {reference}", "score")
            ),
            "distribution": lambda: plots.distribution(
                {f"rater {reference}": rated[reference], "score": rated["score"]}
            ),
        },
        summary=_summary(main, reference, statistics.bias, statistics.sd),
        numbers={
            str(row["measure"]): [row["value"], row["ci_low"], row["ci_high"]]
            for row in measures
            if row["rater"] == reference and row["subset"] == "all"
        }
        | {"n": len(rated), "rater": reference},
        notes=[*matched.notes, *notes],
    )


def _summary(main: pd.DataFrame, reference: str, bias: Estimate, sd: float) -> str:
    """Say the numbers of the reference rater in one sentence."""

    def text(name: str, digits: int = 2) -> str:
        row = main.loc[name]
        return f"{row['value']:.{digits}f} ({row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f})"

    return (
        f"Against rater {reference} in {int(main['n'].iloc[0])} scans: Pearson {text('pearson')}, Spearman "
        f"{text('spearman')}, ICC(1,1) {text('icc11')}, ICC(2,1) {text('icc21')}, ICC(3,1) {text('icc31')}, "
        f"MSE {text('mse')}; bias {bias.value:+.2f} EPVS, limits of agreement "
        f"{bias.value - 1.96 * sd:.2f} to {bias.value + 1.96 * sd:.2f} (95 % intervals in brackets)."
    )
