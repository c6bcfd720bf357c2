"""`occlusion`: marked EPVS are covered one after the other (section 3.3 and Fig. 5 of the paper)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, Description, Study
from epvs_bids.analyses.images import read_region
from epvs_bids.analyses.markers import read_markers
from epvs_bids.analyses.model_split import DEFAULT, model_folder
from epvs_bids.analyses.outputs import Region
from epvs_bids.anatomy.registration import load_itk
from epvs_bids.bids.scores import failed_scans
from epvs_bids.errors import CannotRun
from epvs_bids.statistics.means import mean_estimate

LOGGER = logging.getLogger(__name__)

NAME = "occlusion"
BLOCK_MM = (1.5, 1.5, 4.8)
"""Size of a block along x, y, z (section 3.3)."""

MOST = 6
GROUPS = ((1, 3), (4, 6), (7, 9), (10, 10_000))
"""Scans are grouped by their number of marked EPVS (the paper's first group is 1 to 3)."""

DESCRIPTIONS: dict[str, Description] = {
    "occluded": {"Description": "Number of marked EPVS that are covered"},
    "marked": {"Description": "Number of marked EPVS of the scan"},
    "group": {"Description": "Scans with so many marked EPVS"},
    "mean": {"Description": "Mean score", "Units": "EPVS"},
}

Volume = NDArray[np.float32]


def cover(
    region: Volume,
    mask: Volume,
    centres: NDArray[np.float64],
    *,
    voxel_size: float = 0.5,
    level: float | None = None,
) -> Volume:
    """Cover points of a region with blocks of the mean intensity of the basal ganglia.

    Parameters
    ----------
    region
        S = V × M_s, (X, Y, Z).
    mask
        M_s in [0, 1]; the block is multiplied by it as the scan is.
    centres
        Shape (n, 3), voxel indices (may be fractional) of the points.
    voxel_size
        In mm; the block has 1.5 × 1.5 × 4.8 mm along x, y, z, rounded to whole voxels (ours: along the axes
        of the region, which a rigid registration leaves within a few degrees of the scan's).
    level
        Mean intensity of V; None: that of `region` where the mask is above 0.5.

    Returns
    -------
    A copy with the blocks.
    """
    covered = region.copy()
    value = mean_level(region, mask) if level is None else level
    size = np.maximum(np.rint(np.array(BLOCK_MM) / voxel_size), 1).astype(int)
    for centre in np.atleast_2d(centres):
        first = np.rint(centre - (size - 1) / 2).astype(int)
        box = tuple(slice(max(a, 0), max(a + b, 0)) for a, b in zip(first, size, strict=True))
        covered[box] = value * mask[box]
    return covered


def mean_level(region: Volume, mask: Volume) -> float:
    """Mean of V = S / M_s where the mask is above 0.5."""
    inside = mask > 0.5
    return float((region[inside] / mask[inside]).mean())


def occlusion_scores(
    region: Volume,
    mask: Volume,
    centres: NDArray[np.float64],
    score: Callable[[Volume], float],
    *,
    voxel_size: float = 0.5,
    seed: int = 0,
) -> list[float]:
    """Scores with 0, 1, … 6 points covered, in random order (ours); once all are, the score stays.

    `score` maps a region to its score; the rest is as for `cover`. Returns 7 scores.
    """
    order = np.random.default_rng(seed).permutation(len(centres))
    level = mean_level(region, mask)
    scores = [score(region)]
    for n in range(1, MOST + 1):
        if n > len(centres):
            scores.append(scores[-1])
            continue
        scores.append(score(cover(region, mask, centres[order[:n]], voxel_size=voxel_size, level=level)))
    return scores


def group_of(marked: int) -> str:
    """Name of the group of scans with so many marked EPVS: `1–3`, `4–6`, `7–9` or `10 or more`."""
    low, high = next(limits for limits in GROUPS if limits[0] <= marked <= limits[1])
    return f"{low}–{high}" if high < GROUPS[-1][1] else f"{low} or more"


def curve(scans: pd.DataFrame) -> pd.DataFrame:
    """Mean score and 95 % t interval by number of covered EPVS, for all scans and by group.

    `scans` has one row a scan and number: `marked`, `occluded`, `score`. A group's curve ends where its
    scans have no more EPVS to cover, as in the paper.
    """
    groups = scans["marked"].map(group_of)
    rows = []
    for name, part in [("all", scans), *scans.groupby(groups)]:
        most = MOST if name == "all" else int(min(MOST, part["marked"].max()))
        for number, values in part[part["occluded"] <= most].groupby("occluded")["score"]:
            labels = {"group": name, "occluded": number, "n": len(values)}
            rows.append(labels | mean_estimate(values).columns("mean"))
    return pd.DataFrame(rows, columns=["group", "occluded", "n", "mean", "mean_low", "mean_high"])


def _voxels(region: Region, affine: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxel indices in the region of points in scanner mm, by the transform on disk."""
    space = next(part for part in region.image.name.split("_") if part.startswith("space-"))[6:]
    transforms = sorted(region.image.parent.glob(f"{region.scan}_from-*_to-{space}_mode-image_xfm.txt"))
    to_scan = (
        load_itk(transforms[0]) if transforms else np.eye(4)
    )  # none: the region lies in the scan's space
    to_voxel = np.linalg.inv(to_scan @ affine)
    voxels: NDArray[np.float64] = apply_affine(to_voxel, points)
    return voxels


def _pairs(study: Study) -> list[tuple[Region, NDArray[np.float64]]]:
    """Regions with their marked points in scanner mm; tables without a region or a point are logged."""
    failed = failed_scans(study.output_dir)
    by_scan = {region.scan: region for region in study.regions if region.scan not in failed}
    pairs = []
    for scan, (path, points) in read_markers(study).items():
        region = by_scan.get(scan)
        if region is None:
            LOGGER.warning("%s: %s has no region under %s", path, scan, study.output_dir)
        elif len(points):
            pairs.append((region, points))
    return pairs


def _model_in_use(study: Study) -> Path:
    """Folder of the model whose scores are studied: `--model`, else the one that gave them, else the default.

    Raises `CannotRun` where several models scored, or the one that did is not at hand.
    """
    from epvs_bids.network.checkpoint import DEFAULT_MODEL

    try:
        names = sorted(study.scores.loc[study.scores["qc_pass"], "model"].dropna().astype(str).unique())
    except CannotRun:  # regions without scores
        names = []
    folder = model_folder(study, names)
    if study.options.model is None and names in ([], [DEFAULT]):
        folder = DEFAULT_MODEL
    if folder is None or not folder.is_dir():
        raise CannotRun(
            f"scores come from {' and '.join(names)}; give the folder of the model with --model, or score "
            "all scans with one"
        )
    return folder


def _score_all(
    study: Study, pairs: Sequence[tuple[Region, NDArray[np.float64]]], folder: Path
) -> pd.DataFrame:
    """One row a scan and number of covered EPVS."""
    from epvs_bids.network.checkpoint import load_models
    from epvs_bids.network.data import read_sidecar
    from epvs_bids.network.inference import score

    options = study.options
    models = load_models(folder)
    device = cast("Literal['auto', 'cpu', 'cuda']", options.device)

    def one_score(roi: Volume) -> float:
        return score(roi, models, device=device, threads=options.threads).score

    rows: list[tuple[str, str, int, int, float]] = []
    for region, points in pairs:
        images = read_region(region)
        if made := read_sidecar(region.image).get("Preprocessing"):
            models[0].description.check_preprocessing(made)
        centres = _voxels(region, images.affine, points)
        inside = ((centres > -0.5) & (centres < np.array(images.roi.shape) - 0.5)).all(axis=1)
        if not inside.any():
            LOGGER.warning("%s: no marked EPVS lies in the region", region.scan)
            continue
        scores = occlusion_scores(
            images.roi,
            images.mask,
            centres[inside],
            one_score,
            voxel_size=float(abs(images.affine[0, 0])),
            seed=options.seed,
        )
        marked = int(inside.sum())
        rows += [
            (region.participant_id, region.session_id, marked, n, value) for n, value in enumerate(scores)
        ]
    return pd.DataFrame(rows, columns=["participant_id", "session_id", "marked", "occluded", "score"])


def _figure(series: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the curves of one panel of Fig. 5."""
    return plots.curves(
        series, x="occluded", x_label="covered EPVS (number)", y_label="score (EPVS, mean, 95 % CI)"
    )


def run(study: Study) -> AnalysisResult:
    """Cover the marked EPVS of every scan that has some; see the module."""
    pairs = _pairs(study)
    if not pairs:
        raise CannotRun(
            "no scan has both marked EPVS and a region; run the participant level for the marked scans"
        )
    folder = _model_in_use(study)
    scans = _score_all(study, pairs, folder)
    if scans.empty:
        raise CannotRun("no marked EPVS lies in its scan's region")
    curves = curve(scans)
    total = curves[curves["group"] == "all"].set_index("occluded")["mean"]
    groups = {str(name): part for name, part in curves[curves["group"] != "all"].groupby("group")}
    return AnalysisResult(
        NAME,
        tables={"": curves.round(4), "scans": scans.round(4)},
        descriptions=DESCRIPTIONS,
        figures={
            "all": lambda: _figure({"all": curves[curves["group"] == "all"]}),
            "groups": lambda: _figure({f"{name} marked": part for name, part in groups.items()}),
        },
        summary=(
            f"In {scans['participant_id'].nunique()} participants with marked EPVS the mean score went from "
            f"{total[0]:.2f} to {total[1]:.2f} with one EPVS covered and to {total[MOST]:.2f} with {MOST}."
        ),
        numbers={str(number): value for number, value in total.items()},
        notes=[
            f"scored by model {folder.name}",
            "blocks of 1.5 × 1.5 × 4.8 mm along the axes of the region; EPVS are covered in random order",
        ],
    )
