"""`age`: regression of the counts on age (section 3.8 and Fig. 9 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.matching import main_region, one_a_participant, usable_scores, with_site
from epvs_bids.analyses.site import harmonised
from epvs_bids.analyses.tables import bad_cell, parse_ages
from epvs_bids.errors import BadDataError, CannotRun, UsageError
from epvs_bids.statistics.counts import MODEL_NAMES, CountModel, fit_counts
from epvs_bids.statistics.means import mean_estimate

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
    "predictor": {
        "Description": "Predictor; categories as column=level against the first level of the series"
    },
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
    """Ages in years and covariates as they are written, by participant; who lacks one is left out.

    Raises `UsageError` where `--covariates` names a column that can't be one.
    """
    people, path = study.participants, study.participants_path
    if AGE not in people.columns:
        raise CannotRun(f"{path} has no column age")
    ages, notes = parse_ages(
        people[AGE], people["participant_id"], path, cap=study.options.age_cap, strict=study.options.strict
    )
    table = pd.DataFrame({"participant_id": people["participant_id"], AGE: ages})
    for name in dict.fromkeys(study.options.covariates):
        if name in (AGE, "participant_id"):
            why = "age is in the model already" if name == AGE else "it tells participants apart"
            raise UsageError(f"--covariates {name}: {why}; leave it out")
        if name not in people.columns:
            raise BadDataError(f"{path}: there is no column {name} (--covariates)")
        missing = people[name].isna()
        if study.options.strict and missing.any():
            raise bad_cell(path, int(np.flatnonzero(missing)[0]), name, "it is empty")
        table[name] = people[name]
    table = table.set_index("participant_id")
    complete = table.dropna()
    incomplete = len(table) - len(complete) - len(notes)
    if incomplete > 0:
        notes.append(f"{incomplete} participants lack a covariate and are left out")
    return complete, notes


def _predictors(people: pd.DataFrame) -> pd.DataFrame:
    """Age and covariates as numbers: a column of text becomes one of 0 and 1 a category but the first.

    The categories are those of these people, so that none is in the model that no count is of.
    """
    columns: dict[str, pd.Series] = {}
    for name, values in people.items():
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.notna().all():
            columns[str(name)] = numbers.astype(float)
        else:
            text = values.astype(str)
            columns |= {f"{name}={level}": (text == level).astype(float) for level in sorted(set(text))[1:]}
    return pd.DataFrame(columns, index=people.index)


def _series(study: Study) -> tuple[dict[str, pd.Series], list[str]]:
    """Gather counts by name of the series, each by participant."""
    usable = usable_scores(study)
    single = one_a_participant(with_site(study, usable.table))
    scores, harmonise_notes = harmonised(study, single.table)
    scores = scores.set_index("participant_id")
    counts = scores["score"].round().clip(lower=0)
    series = {"score": counts}
    if "site" in scores.columns:
        series |= {f"score, site {site}": group for site, group in counts.groupby(scores["site"])}
    notes = [*usable.notes, *single.notes, *harmonise_notes, ROUNDING]
    try:
        ratings, raters = study.ratings, study.raters
    except (CannotRun, BadDataError) as reason:
        return series, [*notes, f"visual counts are not analysed: {reason}"]
    for rater in raters:
        rated = one_a_participant(ratings[ratings[rater].notna()]).table
        series[f"rater {rater}"] = rated.set_index("participant_id")[rater].round()
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
        group = {"age_low": start, "age_high": start + years, "n": len(values)}
        rows.append(group | mean_estimate(values).columns("mean"))
    return pd.DataFrame(rows, columns=["age_low", "age_high", "n", "mean", "mean_low", "mean_high"])


def run(study: Study) -> AnalysisResult:
    """Fit the count models of every series; see the module."""
    people, notes = _people(study)
    series, more_notes = _series(study)
    notes += more_notes
    models: list[dict[str, object]] = []
    coefficients: list[dict[str, object]] = []
    groups: dict[str, pd.DataFrame] = {}
    for name, all_counts in series.items():
        counts = all_counts[all_counts.index.isin(people.index)]
        problem = _problem(counts, people.loc[counts.index])
        if problem:
            notes.append(f"{name} is left out: {problem}")
            continue
        table = _predictors(people.loc[counts.index])
        fits = [fit_counts(counts, table, list(table.columns), model=model) for model in MODEL_NAMES]
        models += _model_rows(name, fits)
        coefficients += _coefficient_rows(name, fits[0])
        groups[name] = age_groups(table[AGE], counts)
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


def _problem(counts: pd.Series, people: pd.DataFrame) -> str:
    """Why counts can't be regressed on age and covariates of their people; empty where they can."""
    if len(counts) < FEWEST:
        return f"{len(counts)} participants have a count and an age; {FEWEST} are needed"
    if not counts.any():
        return "all counts are zero"
    same = [str(name) for name in people.columns if people[name].nunique() == 1]
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
