"""`baselines`: the network against simpler methods (Table 1 and Fig. 6 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.parallel import Parallel, delayed

from epvs_bids.analyses import plots
from epvs_bids.analyses.agreement import MEASURES
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.images import read_region
from epvs_bids.analyses.matching import rated_scans
from epvs_bids.analyses.model_split import choose_split
from epvs_bids.analyses.outputs import Region
from epvs_bids.baselines.experiment import METHODS, ScanFeatures, run_methods, scan_features
from epvs_bids.baselines.thresholds import threshold_levels
from epvs_bids.errors import CannotRun
from epvs_bids.statistics.agreement import agreement, proportion, williams_test
from epvs_bids.statistics.splitting import PARTS

NAME = "baselines"
NETWORK = "network"
FEWEST = 40
MANY = 10
"""More EPVS than this are `many`, as in González-Castro et al. (2016)."""

DESCRIPTIONS: dict[str, Description] = {
    "method": {"Description": "Method of section 3.4, `network` for the score"},
    "choice": {"Description": "What was chosen on the training scans"},
    "n": {"Description": "Test scans"},
    "williams_t": {"Description": "Williams' test: correlation of the network against that of the method, t"},
    "williams_df": {"Description": "Its degrees of freedom, n − 3"},
    "williams_p": {"Description": "Its two-sided p value"},
    "accuracy": {"Description": f"Share of test scans put on the right side of {MANY} EPVS (few or many)"},
    "part": {"Description": "Part of the split", "Levels": dict.fromkeys(PARTS, "")},
}


def method_table(
    reference: ArrayLike,
    outputs: Mapping[str, ArrayLike],
    *,
    participants: ArrayLike | None = None,
    choices: Mapping[str, str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Table 1 of the paper: measures of every method on the test scans, with Williams' test.

    Parameters
    ----------
    reference
        Visual counts of the test scans, shape (n,), n ≥ 4.
    outputs
        By method, shape (n,); `network` must be among them.
    participants
        Whose scan each is.
    choices
        By method, in words.
    seed
        Of the bootstrap.
    """
    y = np.asarray(reference, dtype=np.float64)
    network = np.asarray(outputs[NETWORK], dtype=np.float64)
    rows = []
    for name, values in outputs.items():
        x = np.asarray(values, dtype=np.float64)
        result = agreement(y, x, participants=participants, seed=seed)
        row: dict[str, object] = {"method": name, "choice": (choices or {}).get(name, ""), "n": y.size}
        for measure in MEASURES:
            row |= getattr(result, measure).columns(measure)
        if name != NETWORK:
            row |= _williams(y, network, x)
        right = proportion(int(((x > MANY) == (y > MANY)).sum()), y.size)
        rows.append(row | right.columns("accuracy"))
    return pd.DataFrame(rows)


def _williams(
    y: NDArray[np.float64], network: NDArray[np.float64], x: NDArray[np.float64]
) -> dict[str, object]:
    """Williams' test of the network's correlation with the counts against the method's."""
    if 0 in (np.ptp(x), np.ptp(network), np.ptp(y)):
        return {}
    r = np.corrcoef([y, network, x])
    test = williams_test(float(r[0, 1]), float(r[0, 2]), float(r[1, 2]), y.size)
    return {"williams_t": test.t, "williams_df": test.df, "williams_p": test.p}


def _features(region: Region, levels: NDArray[np.float64]) -> ScanFeatures:
    images = read_region(region)
    return scan_features(images.scan * images.mask, images.roi, middle=images.rated_slice, levels=levels)


def _with_regions(study: Study, table: pd.DataFrame) -> tuple[pd.DataFrame, list[Region]]:
    """Rows of the table whose scan has its region on disk, and those regions."""
    by_scan = {region.scan: region for region in study.regions}
    there = table[table["scan"].isin(by_scan)].reset_index(drop=True)
    return there, [by_scan[scan] for scan in there["scan"]]


def run(study: Study) -> AnalysisResult:
    """Fit and compare all methods on one split; see the module."""
    matched, rater, seed = rated_scans(study), study.raters[0], study.options.seed
    table, regions = _with_regions(study, matched.table[matched.table[rater].notna()])
    if len(table) < FEWEST or table["participant_id"].nunique() < FEWEST:
        raise CannotRun(
            f"{len(table)} scans have a score, a rating by {rater} and a region on disk; {FEWEST} "
            "participants are needed to split them in three"
        )
    counts = table[rater].to_numpy(dtype=np.float64)
    parts, origin = choose_split(study, table, counts)
    training, validation, of_test = (np.flatnonzero(parts == part) for part in PARTS)
    levels = threshold_levels(
        images.scan * images.mask for images in (read_region(regions[index]) for index in training)
    )
    features = Parallel(n_jobs=study.options.threads)(
        delayed(_features)(region, levels) for region in regions
    )
    fitted = run_methods(
        features, counts, levels=levels, training=training, validation=validation,
        seed=seed, threads=study.options.threads,
    )  # fmt: skip
    outputs = {**fitted.outputs, NETWORK: table["score"].to_numpy(dtype=np.float64)}
    test = {name: values[of_test] for name, values in outputs.items()}
    result = method_table(
        counts[of_test], test, participants=table["participant_id"].to_numpy()[of_test],
        choices=fitted.choices, seed=seed,
    )  # fmt: skip
    scans = table[["participant_id", "session_id", "scan"]].assign(
        part=parts,
        reference=counts,
        **outputs,
    )
    return AnalysisResult(
        NAME,
        tables={"": result.round(5), "scans": scans.round(4)},
        descriptions=DESCRIPTIONS
        | {
            name: {"Description": f"Rescaled output of {name}", "Units": "EPVS"}
            for name in (*METHODS, NETWORK)
        },
        figures={"scatter": lambda: plots.scatter(counts[of_test], test, reference_name=f"rater {rater}")},
        summary=_summary(result),
        numbers={str(row.method): [row.icc11, row.icc11_low, row.icc11_high] for row in result.itertuples()},
        notes=[
            *matched.notes,
            origin,
        ],
    )


def _summary(result: pd.DataFrame) -> str:
    """ICC(1,1) of every method, and where Williams' test sees a difference."""
    values = "; ".join(f"{row.method} {row.icc11:.2f}" for row in result.itertuples())
    rest = result[result["method"] != NETWORK]
    better = rest[(rest["williams_p"] < 0.05) & (rest["williams_t"] > 0)]["method"].tolist()
    return (
        f"ICC(1,1) with the visual count in {int(result['n'].iloc[0])} test scans: {values}. By Williams' "
        "test the network's correlation is higher than that of "
        f"{', '.join(better) or 'none of the methods'} (p < 0.05)."
    )
