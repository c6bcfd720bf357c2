"""`age`: regression of the counts on age (section 3.8 and Fig. 9 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, CannotRun, Description, Study
from epvs_bids.analyses.matching import main_region, one_a_participant, usable_scores, with_site
from epvs_bids.analyses.site import harmonised
from epvs_bids.analyses.tables import bad_cell, parse_ages
from epvs_bids.errors import BadDataError
from epvs_bids.statistics.counts import MODEL_NAMES, CountModel, fit_counts

NAME = "age"
AGE = "age"
DECADE = 10.0
BIN_YEARS = 5
FEWEST = 20

ROUNDING = (
    "automated scores are rounded to whole EPVS and clipped at 0 for the count models; "
    "exp(10 β) is a rate ratio of the count part, which the paper calls an odds ratio per decade"
)

DESCRIPTIONS: dict[str, Description] = {
    "series": {"Description": "Score, or a rater's column"},
    "model": {
        "Description": "Count regression; zinb: zero-inflated negative binomial, the paper's",
        "Levels": {
            "zinb": "zero-inflated negative binomial, constant share of structural zeros",
            "zinb-inflated-by-covariates": "the same, with the share depending on the predictors",
            "hurdle": "logistic regression of any EPVS and zero-truncated negative binomial",
            "negative-binomial": "negative binomial (NB2)",
            "poisson": "Poisson",
        },
    },
    "predictor": {"Description": "Predictor; categories as column=level against the first level"},
    "rate_ratio": {
        "Description": "exp(β) of the count part for one unit; for age, a decade (the paper's odds ratio)"
    },
    "unit": {"Description": "What one unit of the predictor is"},
    "converged": {"Description": "Whether a maximum with finite parameters was found"},
    "note": {"Description": "Why not, or which simpler model the fit ended on"},
    "zero_share": {"Description": "Share of structural zeros at the mean of the predictors"},
    "dispersion": {"Description": "α: variance = μ + α μ²"},
    "log_likelihood": {"Description": "Maximum of the log-likelihood"},
    "n_parameters": {"Description": "Free parameters"},
    "best": {"Description": "Whether its AIC is the smallest of the series"},
    "age_low": {"Description": "Lower limit of the age group, included", "Units": "year"},
    "age_high": {"Description": "Upper limit of the age group, excluded", "Units": "year"},
    "mean": {"Description": "Mean count of the group", "Units": "EPVS"},
}


def _people(study: Study) -> tuple[pd.DataFrame, list[str]]:
    """Participants with age in years and the predictors beside it as numbers; those without age left out."""
    people, path = study.participants, study.participants_path
    if AGE not in people.columns:
        raise CannotRun(f"{path} has no column age")
    ages, notes = parse_ages(
        people[AGE], people["participant_id"], path, cap=study.options.age_cap, strict=study.options.strict
    )
    table = pd.DataFrame({"participant_id": people["participant_id"], AGE: ages})
    for name in study.options.covariates:
        if name not in people.columns:
            raise BadDataError(f"{path}: there is no column {name} (--covariates)")
        columns = _covariate(people[name], name)
        if study.options.strict and columns.isna().any(axis=None):
            raise bad_cell(path, int(np.flatnonzero(columns.isna().any(axis=1))[0]), name, "it is empty")
        table = pd.concat([table, columns], axis=1)
    complete = table.dropna()
    incomplete = len(table) - len(complete) - len(notes)
    if incomplete > 0:
        notes.append(f"{incomplete} participants lack a covariate and are left out")
    return complete, notes


def _covariate(values: pd.Series, name: str) -> pd.DataFrame:
    """One column of numbers, or one 0/1 column for each category but the first by name."""
    numbers = pd.to_numeric(values, errors="coerce")
    if not (numbers.isna() & values.notna()).any():
        return pd.DataFrame({name: numbers.astype(float)})
    levels = sorted(str(value) for value in values.dropna().unique())
    text = values.astype("object").where(values.notna())
    return pd.DataFrame(
        {
            f"{name}={level}": (text.astype(str) == level).astype(float).where(text.notna())
            for level in levels[1:]
        }
    )


def _series(study: Study) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Gather counts by name, each a table of `participant_id` and `count`, one row a participant."""
    usable = usable_scores(study)
    single = one_a_participant(with_site(study, usable.table))
    scores, harmonise_notes = harmonised(study, single.table)
    counts = scores.assign(count=np.clip(np.rint(scores["score"]), 0, None))
    columns = ["participant_id", "count"]
    series = {"score": counts[columns]}
    if "site" in counts.columns:
        series |= {f"score, site {site}": group[columns] for site, group in counts.groupby("site")}
    notes = [*usable.notes, *single.notes, *harmonise_notes, ROUNDING]
    try:
        ratings, raters = study.ratings, study.raters
    except CannotRun as reason:
        return series, [*notes, f"visual counts are not analysed: {reason}"]
    for rater in raters:
        rated = one_a_participant(ratings[ratings[rater].notna()]).table
        series[f"rater {rater}"] = rated.assign(count=np.rint(rated[rater]))[columns]
    return series, notes


def _model_rows(name: str, models: Sequence[CountModel]) -> list[dict[str, object]]:
    """One row a model: fit, AIC and the rate ratio per decade."""
    aics = [model.aic for model in models if model.converged]
    rows = []
    for model in models:
        ratio, low, high = model.coefficient(AGE).rate_ratio(DECADE)
        rows.append(
            {
                "series": name, "model": model.name, "n": model.n,
                "rate_ratio": ratio, "rate_ratio_low": low, "rate_ratio_high": high,
                "p": model.coefficient(AGE).p, "aic": model.aic,
                "best": model.converged and model.aic == min(aics),
                "log_likelihood": model.log_likelihood, "n_parameters": model.n_parameters,
                "zero_share": model.zero_share, "dispersion": model.dispersion,
                "converged": model.converged, "note": model.note,
            }
        )  # fmt: skip
    return rows


def _coefficient_rows(name: str, model: CountModel) -> list[dict[str, object]]:
    """One row a predictor of the paper's model; the rate ratio of age is for a decade."""
    rows: list[dict[str, object]] = []
    for one in model.coefficients[1:]:
        unit = DECADE if one.name == AGE else 1.0
        ratio, low, high = one.rate_ratio(unit)
        rows.append(
            {
                "series": name, "predictor": one.name, "unit": "10 years" if one.name == AGE else "1",
                "rate_ratio": ratio, "rate_ratio_low": low, "rate_ratio_high": high, "p": one.p,
            }
        )  # fmt: skip
    return rows


def age_groups(ages: pd.Series, counts: pd.Series, *, years: int = BIN_YEARS) -> pd.DataFrame:
    """Mean count and its 95 % t interval in age groups of `years` (Fig. 9); one alone has no interval."""
    rows = []
    for start, values in counts.groupby((ages // years * years).astype(int)):
        n, mean = len(values), values.mean()
        half = stats.t.ppf(0.975, n - 1) * values.std() / np.sqrt(n) if n > 1 else np.nan
        rows.append((start, start + years, n, mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["age_low", "age_high", "n", "mean", "mean_low", "mean_high"])


def run(study: Study) -> AnalysisResult:
    """Fit the count models of every series; see the module."""
    people, notes = _people(study)
    series, more_notes = _series(study)
    notes += more_notes
    predictors = [name for name in people.columns if name != "participant_id"]
    models: list[dict[str, object]] = []
    coefficients: list[dict[str, object]] = []
    groups: dict[str, pd.DataFrame] = {}
    for name, counts in series.items():
        table = counts.merge(people, on="participant_id")
        problem = _problem(table, predictors)
        if problem:
            notes.append(f"{name} is left out: {problem}")
            continue
        fits = [
            fit_counts(table["count"], table[predictors], predictors, model=model) for model in MODEL_NAMES
        ]
        models += _model_rows(name, fits)
        coefficients += _coefficient_rows(name, fits[0])
        groups[name] = age_groups(table[AGE], table["count"])
    if "score" not in groups:
        raise CannotRun(
            next((note for note in notes if note.startswith("score is left out")), "no scores with ages")
        )
    result = pd.DataFrame(models)
    by_age = pd.concat([table.assign(series=name) for name, table in groups.items()])
    shown = {name: table.dropna() for name, table in groups.items() if not name.startswith("score, site")}
    return AnalysisResult(
        NAME,
        tables={
            "": result.round(6),
            "coefficients": pd.DataFrame(coefficients).round(6),
            "groups": by_age[["series", *by_age.columns[:-1]]].round(4),
        },
        descriptions=DESCRIPTIONS,
        figures={"groups": lambda: plots.by_age({name: t for name, t in shown.items() if len(t)})},
        summary=_summary(result, main_region(study.scores)),
        numbers={
            str(row["series"]): [row["rate_ratio"], row["rate_ratio_low"], row["rate_ratio_high"]]
            for row in models
            if row["model"] == MODEL_NAMES[0]
        },
        notes=notes,
    )


def _problem(table: pd.DataFrame, predictors: Sequence[str]) -> str:
    """Why counts can't be regressed on the predictors; empty where they can."""
    if len(table) < FEWEST:
        return f"{len(table)} participants have a count and an age; {FEWEST} are needed"
    if not table["count"].any():
        return "all counts are zero"
    same = [name for name in predictors if table[name].nunique() == 1]
    return f"{same[0]} is the same for all" if same else ""


def _summary(result: pd.DataFrame, region: str) -> str:
    """Rate ratio per decade of each series by the paper's model, and the model with the smallest AIC."""
    parts = []
    for name, rows in result.groupby("series", sort=False):
        row = rows.iloc[0]
        best = rows.loc[rows["best"], "model"].tolist()
        if row["converged"]:
            parts.append(
                f"{name}: {row['rate_ratio']:.2f} ({row['rate_ratio_low']:.2f} to "
                f"{row['rate_ratio_high']:.2f}), n = {row['n']}, smallest AIC: {best[0] if best else 'none'}"
            )
        else:
            parts.append(f"{name}: no convergence ({row['note']})")
    return f"Rate ratio of {region} EPVS per decade, zero-inflated negative binomial: {'; '.join(parts)}."
