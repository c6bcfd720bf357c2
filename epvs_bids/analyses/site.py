"""Removes site effects from scores, with ComBat, where `--harmonise` asks for it."""

from __future__ import annotations

import warnings

import pandas as pd

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.tables import parse_ages
from epvs_bids.errors import CannotRun, UsageError

SMALLEST_SITE = 5
"""Scans below which a site's mean and spread can't be estimated."""


def _ages(study: Study, table: pd.DataFrame) -> pd.DataFrame | None:
    """Age of each row as the covariate to keep; None where it is not known for all."""
    try:
        people, path = study.participants, study.participants_path
    except CannotRun:
        return None
    if "age" not in people.columns:
        return None
    ages, _ = parse_ages(
        people["age"], people["participant_id"], path, cap=study.options.age_cap, strict=False
    )
    values = table["participant_id"].map(dict(zip(people["participant_id"], ages, strict=True)))
    return None if values.isna().any() else pd.DataFrame({"age": values.to_numpy(dtype=float)})


def harmonised(study: Study, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Bring the column `score` of every site to one location and scale, where `--harmonise` asks for it.

    Fortin's ComBat (2018, NeuroImage 167:104–120) from the library combatlearn (MIT), with age as the effect
    to keep where it is known. On one feature there is nothing to shrink towards, so that it is the
    standardisation by site of ComBat's model. It assumes that sites differ in their scanners, not in their
    participants.

    Parameters
    ----------
    study
        Says whether to harmonise.
    table
        One row a scan, with `participant_id`, `score` and `site`.

    Returns
    -------
    The table with harmonised scores (EPVS, may be negative), and what a reader has to know.

    Raises
    ------
    UsageError
        Without `--site`.
    CannotRun
        With one site only, or a site with fewer than 5 scans.
    """
    if not study.options.harmonise:
        return table, []
    if "site" not in table.columns:
        raise UsageError("--harmonise needs to know the site: name its column with --site")
    sizes = table["site"].value_counts()
    if len(sizes) < 2 or sizes.min() < SMALLEST_SITE:
        raise CannotRun(
            f"--harmonise needs 2 sites with {SMALLEST_SITE} scans each; there are "
            + ", ".join(f"{site} ({n})" for site, n in sizes.items())
        )
    from combatlearn import ComBat

    ages = _ages(study, table)
    combat = ComBat(batch=table["site"].reset_index(drop=True), continuous_covariates=ages, method="fortin")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only one feature")
        scores = combat.fit_transform(table[["score"]].reset_index(drop=True).astype(float))
    kept = (
        "keeping the effect of age"
        if ages is not None
        else "age is not known for all and its effect is not kept"
    )
    note = f"scores are harmonised across {len(sizes)} sites (ComBat, {kept})"
    return table.assign(score=scores["score"].to_numpy()), [note]
