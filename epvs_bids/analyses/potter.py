"""`potter`: agreement of the categories 0–4 of Potter et al. (2015)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.matching import rated_scans
from epvs_bids.analyses.model_split import seen_in_training
from epvs_bids.errors import BadDataError, CannotRun
from epvs_bids.statistics.agreement import proportion
from epvs_bids.statistics.kappa import weighted_kappa
from epvs_bids.statistics.potter import N_CATEGORIES, potter_class

NAME = "potter"
FEWEST = 3

DESCRIPTIONS: dict[str, Description] = {
    "source": {
        "Description": "Where the visual category came from",
        "Levels": {"category": "rated as a category (column named *potter*)", "count": "binned count"},
    },
    "kappa_quadratic": {"Description": "Cohen's kappa with quadratic weights"},
    "kappa_linear": {"Description": "Cohen's kappa with linear weights"},
    "exact": {"Description": "Share of scans in the same category"},
    "visual": {"Description": "Visual category"},
}


def _visual_categories(study: Study, table: pd.DataFrame) -> dict[str, tuple[str, pd.Series]]:
    """Visual categories by column of the ratings, each with where they come from."""
    found: dict[str, tuple[str, pd.Series]] = {}
    for name in study.ratings.columns[2:]:
        values = table[name].dropna()
        if "potter" in name.lower():
            wrong = values[~values.isin(range(N_CATEGORIES))]
            if len(wrong):
                raise BadDataError(
                    f"{study.ratings_path}, {table.loc[wrong.index[0], 'participant_id']}, column {name}: "
                    f"{wrong.iloc[0]:g} is no category (0 to {N_CATEGORIES - 1})"
                )
            found[name] = ("category", values.astype(int))
        elif name in study.raters:
            found[name] = ("count", pd.Series(potter_class(values), index=values.index))
    return {name: item for name, item in found.items() if len(item[1]) >= FEWEST}


def _row(name: str, source: str, visual: pd.Series, automatic: pd.Series) -> dict[str, object]:
    quadratic = weighted_kappa(visual, automatic, weights="quadratic")
    linear = weighted_kappa(visual, automatic, weights="linear")
    exact = proportion(int((visual == automatic).sum()), len(visual))
    row: dict[str, object] = {"rater": name, "source": source, "n": len(visual)}
    for key, estimate in (("kappa_quadratic", quadratic), ("kappa_linear", linear), ("exact", exact)):
        row |= estimate.columns(key)
    return row


def run(study: Study) -> AnalysisResult:
    """Compare the category of the score with every rater's; see the module."""
    matched = rated_scans(study)
    visual = _visual_categories(study, matched.table)
    if not visual:
        raise CannotRun(f"fewer than {FEWEST} scans have a score and a rating")
    automatic = pd.Series(potter_class(matched.table["score"]), index=matched.table.index)
    rows = [_row(name, source, values, automatic[values.index]) for name, (source, values) in visual.items()]
    first = next((name for name, (source, _) in visual.items() if source == "category"), None) or next(
        (name for name in study.raters if name in visual), next(iter(visual))
    )
    values = visual[first][1]
    cross = np.zeros((N_CATEGORIES, N_CATEGORIES), dtype=int)
    np.add.at(cross, (values.to_numpy(), automatic[values.index].to_numpy()), 1)
    table = pd.DataFrame(rows)
    main = table.set_index("rater").loc[first]
    columns = {f"automatic_{category}": cross[:, category] for category in range(N_CATEGORIES)}
    return AnalysisResult(
        NAME,
        tables={"": table.round(5), "cross": pd.DataFrame({"visual": range(N_CATEGORIES), **columns})},
        descriptions=DESCRIPTIONS,
        figures={
            "cross": lambda: plots.heat_map(
                cross,
                labels=[str(c) for c in range(N_CATEGORIES)],
                axis_names=(f"category by {first}", "category of the score"),
            )
        },
        summary=(
            f"Potter categories against {first} in {main['n']} scans: quadratic-weighted kappa "
            f"{main['kappa_quadratic']:.2f} ({main['kappa_quadratic_low']:.2f} to "
            f"{main['kappa_quadratic_high']:.2f}), the same category in {100 * main['exact']:.0f} %."
        ),
        numbers={"rater": first} | {name: main[name] for name in ("n", "kappa_quadratic", "exact")},
        notes=[*matched.notes, *seen_in_training(study, matched.table)[1]],
    )
