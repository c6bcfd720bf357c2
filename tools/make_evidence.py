"""Repeat the paper's Tables 1 and 2 and Figs. 5, 6 and 9 on simulated regions, and write docs/evidence.md.

    .venv/bin/python tools/make_evidence.py

Regions, features and scores are kept in `--work`: the same command goes on where it was stopped, another
model only scores again, another simulator or number of regions begins anew.
"""

import argparse
import dataclasses
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from evidence_page import write_page

from epvs_bids.analyses import plots
from epvs_bids.analyses.age import age_groups
from epvs_bids.analyses.baselines import NETWORK, method_table
from epvs_bids.analyses.occlusion import MOST, curve, occlusion_scores
from epvs_bids.analyses.raters import pair_rows
from epvs_bids.baselines.experiment import ScanFeatures, run_methods, scan_features
from epvs_bids.baselines.rescaling import icc_maximising_line
from epvs_bids.files import atomic_write
from epvs_bids.network.architecture import RegressionNetwork
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, load_models
from epvs_bids.network.inference import prepare, score
from epvs_bids.network.options import PROFILE
from epvs_bids.network.readout import apply_readout, fit_readout
from epvs_bids.reports.style import to_png
from epvs_bids.simulation.anatomy import ATLAS
from epvs_bids.simulation.cohort import CohortSettings, draw_participants
from epvs_bids.simulation.raters import rate
from epvs_bids.simulation.region import HELD_OUT, REGION, TRAINING, simulate_region
from epvs_bids.statistics.agreement import agreement
from epvs_bids.statistics.calibration import calibrate
from epvs_bids.statistics.counts import MODEL_NAMES, fit_counts
from epvs_bids.statistics.splitting import PARTS, split_by_participant

FIRST_SEED = 9_000_000
"""Far from the seeds that the default model is trained on."""

SCANNER = dataclasses.replace(
    HELD_OUT,
    epvs=dataclasses.replace(HELD_OUT.epvs, foci=TRAINING.epvs.foci),
    contrasts=("PDw",),
    voxel_sizes=((0.49, 0.49, 0.8, -1),),
    texture=(0.4, 1.5),
    smoothing=(0.0, 0.0),
    sharpening=(0.0, 0.0),
)
"""One scanner with the paper's contrast and voxels; calibre, noise and mimics as training never saw them."""

COHORT = CohortSettings(seed=2019, mean_count=6.0)
LEVELS = np.linspace(0.6, 3.0, 16)
"""Candidate thresholds, relative to white matter, in which simulated scans are scaled."""

MARKED = 25
"""Scans with marked EPVS, as in section 3.3."""
FEW = 20
PACKAGE = ATLAS.parents[2]
UNTRAINED = "network, line only"
"""The default model as it is; `network` is the one whose readout the counts have trained."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured in the scans.

    Parameters
    ----------
    scans
        One row a scan: participant, age, true counts, score.
    features
        Of the simple methods, for the first scans.
    sums
        (n, maps, z) of the default model's detection maps, for the same scans.
    covered
        Scores with marked EPVS covered.
    """

    scans: pd.DataFrame
    features: list[ScanFeatures]
    sums: np.ndarray
    covered: pd.DataFrame


def key_of(files: Iterable[Path], settings: object = None) -> str:
    """Eight digits that differ where files or settings do, for names of what depends on them."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _region(work: Path, index: int, count: int) -> dict[str, np.ndarray]:
    """Simulate one region, unless it is there: `roi`, `mask`, `raw` as float16, marked voxels, counts.

    EPVS are marked where the slice of the commissure cuts them, as a rater would.
    """
    path = work / f"region-{index:04d}.npz"
    if not path.is_file():
        one = simulate_region(FIRST_SEED + index, SCANNER, count=count)
        to_voxel, height = np.linalg.inv(REGION.affine), one.anatomy.commissure[2]
        tubes = [lesion.tube for lesion in one.lesions if lesion.kind == "epvs"]
        shown = [tube.points for tube in tubes if tube.crosses(height, 0.5)]
        points = np.array([line[np.abs(line[:, 2] - height).argmin()] for line in shown]).reshape(-1, 3)
        content = {
            "roi": one.region.astype(np.float16),
            "raw": (one.image * one.mask).astype(np.float16),
            "mask": one.mask.astype(np.float16),
            "marked": points @ to_voxel[:3, :3].T + to_voxel[:3, 3],
            "middle": np.array((to_voxel @ [0, 0, height, 1])[2]),
            "counts": np.array([one.total_count, one.slice_count]),
        }
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **content)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _features(work: Path, index: int, region: dict[str, np.ndarray], key: str) -> ScanFeatures:
    """Features of the simple methods, computed unless they are there."""
    path = work / f"features-{key}-{index:04d}.npz"
    if not path.is_file():
        raw, roi = region["raw"].astype(np.float32), region["roi"].astype(np.float32)
        found = scan_features(raw, roi, middle=round(float(region["middle"])), levels=LEVELS)
        sizes = [len(one) for one in found.descriptors]
        with atomic_write(path) as temporary:
            np.savez_compressed(
                temporary, intensity=found.intensity, volumes=found.volumes, components=found.components,
                vessels=found.vessels, sizes=sizes, descriptors=np.concatenate(found.descriptors),
            )  # fmt: skip
    with np.load(path) as stored:
        cuts = np.cumsum(stored["sizes"])[:-1]
        descriptors = np.split(stored["descriptors"], cuts)
        counts = [stored[name] for name in ("volumes", "components", "vessels")]
        return ScanFeatures(float(stored["intensity"]), *counts, descriptors)


def _scores(
    work: Path, index: int, region: dict[str, np.ndarray], models: list[LoadedModel], key: str
) -> np.ndarray:
    """Scores with 0 to 6 marked EPVS covered for the first scans with some, else the score alone."""
    path = work / f"scores-{key}-{index:04d}.npy"
    if not path.is_file():
        roi, mask = (region[name].astype(np.float32) for name in ("roi", "mask"))

        def one(image: np.ndarray) -> float:
            return score(image, models, device="cpu", threads=1).score

        points = region["marked"]
        values = occlusion_scores(roi, mask, points, one, seed=index) if len(points) else [one(roi)]
        with atomic_write(path) as temporary:
            np.save(temporary, np.array(values))
    return np.load(path)


def _sums(
    work: Path, index: int, region: dict[str, np.ndarray], network: RegressionNetwork, key: str
) -> np.ndarray:
    """Add up the detection maps over each axial layer, (maps, z), unless that is done."""
    path = work / f"sums-{key}-{index:04d}.npy"
    if not path.is_file():
        with torch.inference_mode():
            maps = network.detection_map(torch.from_numpy(region["roi"].astype(np.float32))[None, None])
        with atomic_write(path) as temporary:
            np.save(temporary, maps.sum(dim=(2, 3))[0].double().numpy())
    return np.load(path)


def simulate_and_score(options: argparse.Namespace) -> Measured:
    """Everything that takes time: the scans with their truth and score, features, and occlusion scores."""
    count = options.regions
    cohort = dataclasses.replace(COHORT, participants=count)
    work = options.work / key_of([*(PACKAGE / "simulation").glob("*.py"), ATLAS], (SCANNER, cohort))
    people = draw_participants(cohort)
    models = load_models(options.model) if any(options.model.glob("*.json")) else []
    key = key_of(options.model.rglob("*"))
    of_methods = key_of((PACKAGE / "baselines").glob("*.py"), LEVELS.tolist())
    networks = [prepare(model.network) for model in models]
    features, sums, rows, covered, marked = [], [], [], [], 0
    for index, person in enumerate(people.itertuples()):
        region = _region(work, index, int(person.epvs))
        if index < options.with_baselines:
            features.append(_features(work, index, region, of_methods))
            sums += [_sums(work, index, region, network, key) for network in networks]
        if marked >= MARKED:
            region["marked"] = region["marked"][:0]
        marked += bool(len(region["marked"]))
        total, in_slice = region["counts"].tolist()
        row = {"participant_id": person.participant_id, "age": person.age, "total": total, "slice": in_slice}
        if models:
            values = _scores(work, index, region, models, key)
            row["score"] = values[0]
            covered += [(len(region["marked"]), n, v) for n, v in enumerate(values) if len(values) > 1]
        rows.append(row)
        sys.stderr.write(f"\r{index + 1} of {count} regions")
    sys.stderr.write("\n")
    table = pd.DataFrame(covered, columns=["marked", "occluded", "score"])
    return Measured(pd.DataFrame(rows), features, np.array(sums), table)


def table_1(
    scans: pd.DataFrame, features: list[ScanFeatures], sums: np.ndarray
) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """Measures of all methods on the test scans, all and those with few EPVS, and the scans behind them.

    The network's readout is trained as `group --analysis train --recipe modern --init-from default` does.
    """
    part = scans.iloc[: len(features)]
    counts = part["A1"].to_numpy(float)
    people = part["participant_id"].tolist()
    split = split_by_participant(people, counts, validation=0.2, test=0.4, seed=1)
    training, validation, of_test = (np.flatnonzero(split == name) for name in PARTS)
    fitted = run_methods(features, counts, levels=LEVELS, training=training, validation=validation)
    raw = part["score"].to_numpy(float)
    line = icc_maximising_line(raw[validation], counts[validation])
    known = np.concatenate([training, validation])
    readout = fit_readout(sums[known], counts[known], knots=PROFILE)
    outputs = {**fitted.outputs, UNTRAINED: line(raw), NETWORK: apply_readout(sums, readout)}
    choices = {**fitted.choices, UNTRAINED: f"{line.slope:.2f} × score {line.intercept:+.2f}"}
    few = of_test[counts[of_test] <= FEW]
    tables = {
        name: method_table(
            counts[rows], {key: values[rows] for key, values in outputs.items()}, choices=choices
        )
        for name, rows in (("all", of_test), ("few", few))
    }
    shown = {"reference": counts[of_test]} | {key: values[of_test] for key, values in outputs.items()}
    return tables, shown


def age_models(scans: pd.DataFrame) -> pd.DataFrame:
    """Rate ratio per decade of the visual count, of the score and of the true count, by every model."""
    rows = []
    for name in ("A1", "method", "slice", "total"):
        counts = np.clip(np.rint(scans[name]), 0, None)
        for model in MODEL_NAMES:
            fit = fit_counts(counts, scans[["age"]], ["age"], model=model)
            rows.append((name, model, *fit.coefficient("age").rate_ratio(10), fit.aic, fit.note))
    return pd.DataFrame(rows, columns=["series", "model", "ratio", "low", "high", "aic", "note"])


def draw_figures(
    folder: Path, shown: dict[str, np.ndarray], scans: pd.DataFrame, curves: pd.DataFrame
) -> None:
    """Figs. 5, 6 and 9 as small PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    methods = {name: values for name, values in shown.items() if name != "reference"}
    groups = {
        name: age_groups(scans["age"], np.clip(np.rint(scans[key]), 0, None)).dropna()
        for name, key in (("rater A", "A1"), ("automated score", "method"))
    }
    by_group = {f"{name} marked": part for name, part in curves.groupby("group") if name != "all"}
    labels = {"x_label": "covered EPVS (number)", "y_label": "score (EPVS, mean, 95 % CI)"}
    figures = {
        "evidence-fig5-all": plots.curves({"all": curves[curves["group"] == "all"]}, x="occluded", **labels),
        "evidence-fig5-groups": plots.curves(by_group, x="occluded", band=False, **labels),
        "evidence-fig6": plots.scatter(shown["reference"], methods, reference_name="rater A"),
        "evidence-fig9": plots.by_age(groups),
    }  # fmt: skip
    for name, figure in figures.items():
        (folder / f"{name}.png").write_bytes(to_png(figure, dpi=80))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of the command line; the defaults make the page that is in docs/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=300)
    parser.add_argument(
        "--with-baselines", type=int, default=240, help="regions with the simple methods' features"
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--work", type=Path, default=Path("work/evidence"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    return parser.parse_args(arguments)


def main() -> None:
    """Simulate, score, analyse, write."""
    options = parse()
    start = time.process_time()
    measured = simulate_and_score(options)
    scans = measured.scans
    if "score" not in scans:
        sys.exit(f"There is no model {options.model}; regions and features are kept in {options.work}.")
    ratings = rate(np.random.default_rng(COHORT.seed), scans["slice"], intra=COHORT.intra, inter=COHORT.inter)
    scans = scans.join(ratings)
    calibration = calibrate(scans["score"], scans["A1"], curve_allowed=False)
    scans["method"] = calibration.predicted
    tables, shown = table_1(scans, measured.features, measured.sums)
    curves = curve(measured.covered)
    draw_figures(options.docs / "figures", shown, scans, curves)
    write_page(
        options.docs / "evidence.md",
        scans=scans, known=len(measured.features) - len(shown["reference"]), tables=tables,
        pairs=pair_rows(scans, ["A1", "B1", "B2", "method"], 0),
        curves=curves, ages=age_models(scans), calibration=calibration,
        direct={name: agreement(scans[name], scans["score"]) for name in ("total", "slice")},
        ceiling=agreement(scans["A1"], scans["slice"]), most=MOST, cohort=COHORT,
        minutes=(time.process_time() - start) / 60,
    )  # fmt: skip


if __name__ == "__main__":
    main()
