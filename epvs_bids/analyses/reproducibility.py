"""`reproducibility`: scores of two scans of one participant (section 3.7 of the paper)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, Study
from epvs_bids.analyses.matching import main_region, usable_scores
from epvs_bids.analyses.raters import kind_of_pair
from epvs_bids.errors import BadDataError, CannotRun
from epvs_bids.statistics.agreement import bland_altman, repeatability
from epvs_bids.statistics.icc import intraclass_correlations

NAME = "reproducibility"
FEWEST = 3

DESCRIPTIONS = {
    "series": {"Description": "Score, one model of the ensemble, or a rater's own repeat"},
    "n": {"Description": "Participants scanned twice; for a rater, scans rated twice"},
    "within_sd": {"Description": "Within-subject standard deviation", "Units": "EPVS"},
    "repeatability": {
        "Description": "Repeatability coefficient: 95 % of repeats differ by less", "Units": "EPVS",
    },
    "bias": {"Description": "Mean of second minus first", "Units": "EPVS"},
    "lower": {"Description": "Lower limit of agreement", "Units": "EPVS"},
    "upper": {"Description": "Upper limit of agreement", "Units": "EPVS"},
}  # fmt: skip


def _scan_pairs(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """First and second session of everybody who has two or more, as two tables in the same order."""
    ordered = table.sort_values(["participant_id", "session_id"])
    twice = ordered[ordered.groupby("participant_id")["scan"].transform("size") >= 2]
    order = twice.groupby("participant_id").cumcount()
    return twice[order == 0].reset_index(drop=True), twice[order == 1].reset_index(drop=True)


def row_of_pair(series: str, first: pd.Series, second: pd.Series) -> dict[str, object]:
    """All measures of one series of repeats."""
    icc = intraclass_correlations(np.column_stack([first, second]))
    spread, limits = repeatability(first, second), bland_altman(first, second)
    row: dict[str, object] = {"series": series, "n": icc.n}
    for name in ("icc11", "icc21", "icc31"):
        row |= getattr(icc, name).columns(name)
    return row | {
        "within_sd": spread.within_sd,
        "repeatability": spread.coefficient,
        "bias": limits.bias.value,
        "lower": limits.lower.value,
        "upper": limits.upper.value,
    }


def _rater_rows(study: Study) -> tuple[list[dict[str, object]], list[str]]:
    """Repeats of each rater on the same scans, and a note where the ratings can't be used."""
    try:
        ratings, raters = study.ratings, study.raters
    except CannotRun:
        return [], []
    except BadDataError as error:
        return [], [f"repeats of raters are not analysed: {error}"]
    rows = []
    for index, first in enumerate(raters):
        for second in raters[index + 1 :]:
            both = ratings[[first, second]].dropna()
            if (
                kind_of_pair(first, second) == "intra-rater"
                and len(both) >= FEWEST
                and np.ptp(both.to_numpy())
            ):
                rows.append(row_of_pair(f"rater {first}, {second}", both[first], both[second]))
    return rows, []


def run(study: Study) -> AnalysisResult:
    """Compare the first two sessions of every participant who has them; see the module."""
    usable = usable_scores(study)
    first, second = _scan_pairs(usable.table)
    if len(first) < FEWEST:
        region = main_region(study.scores)
        raise CannotRun(
            f"{len(first)} participants have scores of {region} in two sessions; {FEWEST} are needed"
        )
    rows = [row_of_pair("score", first["score"], second["score"])]
    models = [name for name in usable.table.columns if name.startswith("model-")]
    for name in models:
        both = first[name].notna() & second[name].notna()
        if both.sum() >= FEWEST:
            rows.append(row_of_pair(name, first.loc[both, name], second.loc[both, name]))
    rater_rows, notes = _rater_rows(study)
    table = pd.DataFrame(rows + rater_rows)
    ensemble = table.loc[table["series"].isin(models), "icc11"]
    limits = bland_altman(first["score"], second["score"])
    main = table.iloc[0]
    spread = (
        f" Over the {len(ensemble)} models of the ensemble ICC(1,1) is "
        f"{ensemble.mean():.3f} ± {ensemble.std():.3f}."
        if len(ensemble) > 1
        else ""
    )
    return AnalysisResult(
        NAME,
        tables={"": table.round(5)},
        descriptions=DESCRIPTIONS,
        figures={
            "bland-altman": lambda: plots.bland_altman_plot(
                first["score"], second["score"], limits, labels=("first scan", "second scan")
            ),
            "scatter": lambda: plots.scatter(
                first["score"],
                {"score of the second scan": second["score"]},
                reference_name="score of the first scan",
            ),
        },
        summary=(
            f"Scan and rescan of {int(main['n'])} participants: ICC(1,1) {main['icc11']:.3f} "
            f"({main['icc11_low']:.3f} to {main['icc11_high']:.3f}), within-subject SD "
            f"{main['within_sd']:.2f} EPVS, repeatability coefficient "
            f"{main['repeatability']:.2f} EPVS.{spread}"
        ),
        numbers={
            "n": int(main["n"]),
            "icc11": [main["icc11"], main["icc11_low"], main["icc11_high"]],
            "within_sd": main["within_sd"],
            "repeatability": main["repeatability"],
            "ensemble_icc11_mean": ensemble.mean() if len(ensemble) else None,
            "ensemble_icc11_sd": ensemble.std() if len(ensemble) > 1 else None,
        },
        notes=[*usable.notes, *notes],
    )
