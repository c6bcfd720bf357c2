"""Writes docs/evidence.md from the numbers that make_evidence.py found."""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from epvs_bids.files import write_text
from epvs_bids.simulation.cohort import CohortSettings
from epvs_bids.statistics.agreement import Agreement
from epvs_bids.statistics.calibration import Calibration, Line

PAPER_TABLE_1 = {
    "intensity (a)": (0.38, 0.19, 0.37, 18.36),
    "volume (b)": (0.47, 0.34, -0.27, 116.2),
    "components (c)": (0.63, 0.48, 0.63, 9.88),
    "SIFT bag of words (d)": (0.57, 0.59, 0.55, 10.05),
    "network": (0.75, 0.61, 0.74, 6.14),
}
"""Pearson, Spearman, ICC, MSE on 405 test scans."""

PAPER_FEW = {"components (c)": (0.48, 11.02), "SIFT bag of words (d)": (0.59, 9.22), "network": (0.68, 6.74)}
"""ICC and MSE for scans with at most 20 EPVS (section 3.4)."""

PAPER_TABLE_2 = {
    ("A1", "B1"): 0.70, ("A1", "B2"): 0.68, ("B1", "B2"): 0.80,
    ("A1", "method"): 0.80, ("B1", "method"): 0.62, ("B2", "method"): 0.70,
}  # fmt: skip

PAPER_AGE = {"A1": "1.30 ± 0.08", "method": "1.34 ± 0.07"}

SERIES = {
    "A1": "visual count, rater A",
    "method": "automated score",
    "slice": "true count in the slice",
    "total": "true count in the whole",
}

INTRODUCTION = """# Evidence

Everything on this page is about **simulated** scans, made by `tools/make_evidence.py` in one command. It
shows that the analyses of the group level do what the paper's do, on data whose truth is known. It does not
show how well the default model agrees with human raters: nobody has measured that.

"""

DIFFERENCES = """
## What differs from the paper, and why

- **The scans are simulated**: {n} regions of one scanner with the paper's contrast and voxels (PD, 0.49
  × 0.49 × 0.8 mm), whose EPVS calibre, noise and lacunes the default model never saw in training. How
  far that carries
  over to real scans is not known.
- **The rater is simulated**: the true count in the slice of the anterior commissure with errors that
  give an intra-rater ICC of {intra:.2f} and an inter-rater ICC of {inter:.2f}. No method can agree with
  A more than the true count does: ICC(1,1) {ceiling}.
- **The network is the default model**, which learnt positions on other simulated regions and counts the
  whole basal ganglia. The paper's was trained on rater A's counts of one slice. In Table 1, `network`
  has its readout (some numbers for the heights of the region) trained on the same {n_known} scans that
  train and tune the other methods, as `group --analysis train --recipe modern --init-from default`
  does; the row "line only" is the default model as it comes, brought to A's scale by the
  line that maximises ICC on the validation scans. Elsewhere it is the latter with the least-squares
  line, cross-validated by participant.
- **Fewer test scans** ({n_test} against 405), hence wide intervals: differences between
  methods in Table 1 are not to be read from so few. The paper gives no intervals.
- **The paper does not say which ICC it used**; ours in the tables is ICC(1,1), for which the paper's
  −0.27 of method (b) beside a Pearson correlation of 0.47 is possible. Why that
  method did so badly there the paper does not say.
- **Thresholds of (b), (c) and (e)** are those with the highest correlation in the training scans; the
  paper does not say what was optimised. (e), Frangi's vesselness, is not in the paper's table.
- **Fig. 5**: EPVS are covered in random order, by blocks along the region's axes.
- **Age**: the counts were drawn with a rate ratio of {ratio:.2f} per decade, so the truth is known. The
  paper's "odds ratio per decade" is exp(10 β) of the count part, a rate ratio.
"""


def _ci(value: float, low: float, high: float, digits: int = 2) -> str:
    if math.isnan(value):  # a constant method has no correlation
        return "n/a"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _p(value: float) -> str:
    return "" if pd.isna(value) else "< 0.00001" if value < 1e-5 else f"{value:.2g}"


def _table_1(table: pd.DataFrame, few: pd.DataFrame) -> str:
    """Ours beside the paper's, and the scans with few EPVS."""
    rows = []
    for row in table.itertuples():
        paper = PAPER_TABLE_1.get(row.method)
        ours = [_ci(getattr(row, m), getattr(row, f"{m}_low"), getattr(row, f"{m}_high"))
                for m in ("pearson", "spearman", "icc11", "mse")]  # fmt: skip
        theirs = [f"{value:g}" for value in paper] if paper else ["–"] * 4
        cells = [f"{ours[i]} / {theirs[i]}" for i in range(4)]
        accuracy = _ci(100 * row.accuracy, 100 * row.accuracy_low, 100 * row.accuracy_high, 0)
        rows.append([row.method, *cells, _p(row.williams_p), accuracy])
    text = (
        f"## Table 1: agreement with rater A in {table['n'].iloc[0]} test scans\n\n"
        "Ours with its 95 % interval / the paper's value. Williams' test: p of the difference between the "
        "network's "
        "correlation and the method's. Accuracy: on the right side of 10 EPVS (González-Castro et al. 2016 "
        "had 82 % "
        "on 80 real scans).\n\n"
        + _markdown(["method", "Pearson", "Spearman", "ICC(1,1)", "MSE", "Williams p", "accuracy, %"], rows)
    )
    few_rows = []
    for row in few.itertuples():
        icc, mse = PAPER_FEW.get(row.method, ("–", "–"))
        few_rows.append([row.method, f"{row.icc11:.2f} / {icc}", f"{row.mse:.2f} / {mse}"])
    return (
        text + f"\nThe same for the {few['n'].iloc[0]} test scans with at most 20 EPVS:\n\n"
        + _markdown(["method", "ICC(1,1)", "MSE"], few_rows)
        + "\n![Score against visual count for each method](figures/evidence-fig6.png)\n"
    )  # fmt: skip


def _table_2(pairs: pd.DataFrame) -> str:
    """Every pair of raters and the method, ours beside the paper's."""
    rows = [
        [f"{row.first} – {row.second}", row.kind, _ci(row.icc11, row.icc11_low, row.icc11_high),
         f"{PAPER_TABLE_2[(row.first, row.second)]:.2f}"]
        for row in pairs.itertuples()
    ]  # fmt: skip
    return (
        f"\n## Table 2: raters among themselves and the method, {pairs['n'].iloc[0]} scans (the paper: "
        "40)\n\n" + _markdown(["pair", "kind", "ours, ICC(1,1)", "paper"], rows)
    )


def _figure_5(curves: pd.DataFrame, most: int) -> str:
    """Write the mean curve as a table, and both panels."""
    every = curves[curves["group"] == "all"].set_index("occluded")
    rows = [
        [str(n), _ci(every["mean"][n], every["mean_low"][n], every["mean_high"][n])] for n in range(most + 1)
    ]
    fall = every["mean"][0] - every["mean"][1]
    return (
        f"\n## Fig. 5: covering marked EPVS, {every['n'].iloc[0]} scans (the paper: 25)\n\n"
        + _markdown(["covered", "mean score"], rows)
        + f"\nThe first covered EPVS changes the score by {-fall:+.2f} on average. The paper's block of "
        "1.5 × 1.5 × 4.8 mm covers part of an EPVS and leaves its ends, which our network counts; one "
        "that is covered wholly takes with it most of what one adds "
        "([measured](default-model.md#on-simulated-scans)). The mean flattens where scans have no EPVS left "
        "to cover.\n\n"
        "![Mean score](figures/evidence-fig5-all.png)\n![By number of marked "
        "EPVS](figures/evidence-fig5-groups.png)\n"
    )


def _figure_9(ages: pd.DataFrame, truth: float) -> str:
    """Rate ratios by the paper's model, and the comparison of models."""
    rows, held = [], 0
    for name, models in ages.groupby("series", sort=False):
        zinb = models.iloc[0]
        holds = bool(zinb["low"] <= truth <= zinb["high"])
        inside, held = "yes" if holds else "**no**", held + holds
        best = models.loc[models["aic"].idxmin(), "model"]
        ratio = _ci(zinb["ratio"], zinb["low"], zinb["high"])
        rows.append([SERIES[name], ratio, PAPER_AGE.get(name, "–"), inside, str(best), str(zinb["note"])])
    aic = [
        [SERIES[name], *(f"{value:.1f}" for value in models["aic"])]
        for name, models in ages.groupby("series", sort=False)
    ]
    header = ["series", "ours", "paper", f"holds the truth, {truth:.2f}", "smallest AIC", "note"]
    return (
        "\n## Fig. 9: EPVS and age\n\nRate ratio per decade of the zero-inflated negative binomial, 95 % "
        "interval:\n\n"
        + _markdown(header, rows)
        + f"\nThe rate ratio that the counts were drawn with, {truth:.2f}, lies in the interval of {held} of "
        f"the {len(rows)} series.\n\nAkaike's information criterion of all models:\n\n"
        + _markdown(["series", *ages["model"].unique()], aic)
        + "\n![Mean count per 5 years of age](figures/evidence-fig9.png)\n"
    )  # fmt: skip


def _direct(direct: Mapping[str, Agreement], calibration: Calibration, minutes: float) -> str:
    line = calibration.fitted
    assert isinstance(line, Line)
    rows = []
    for name, one in direct.items():
        cells = [_ci(e.value, e.low, e.high) for e in (one.pearson, one.icc11, one.mse)]
        rows.append([SERIES[name], *cells])
    return (
        "\n## The score as it is\n\nBefore any line, against the truth:\n\n"
        + _markdown(["against", "Pearson", "ICC(1,1)", "MSE"], rows)
        + f"\nThe line to rater A's counts is {line.slope:.3f} × score {line.intercept:+.2f}; the mean "
        f"squared error is {calibration.mse_before:.2f} without it and {calibration.mse_after:.2f} with it "
        f"(cross-validated). The last run of the command took {minutes:.1f} minutes of processor time beyond "
        "what was on disk already.\n"
    )


def write_page(
    path: Path,
    *,
    scans: pd.DataFrame,
    known: int,
    tables: Mapping[str, pd.DataFrame],
    pairs: pd.DataFrame,
    curves: pd.DataFrame,
    ages: pd.DataFrame,
    calibration: Calibration,
    direct: Mapping[str, Agreement],
    ceiling: Agreement,
    most: int,
    cohort: CohortSettings,
    minutes: float,
) -> None:
    """Write the page; figures are in `figures/` beside it."""
    limit = ceiling.icc11
    differences = DIFFERENCES.format(
        n=len(scans), n_test=int(tables["all"]["n"].iloc[0]), n_known=known,
        intra=cohort.intra, inter=cohort.inter,
        ceiling=_ci(limit.value, limit.low, limit.high), ratio=cohort.rate_ratio,
    )  # fmt: skip
    parts = [
        INTRODUCTION, _table_1(tables["all"], tables["few"]), _table_2(pairs), _figure_5(curves, most),
        _figure_9(ages, cohort.rate_ratio), _direct(direct, calibration, minutes), differences,
    ]  # fmt: skip
    write_text(path, "".join(parts))
