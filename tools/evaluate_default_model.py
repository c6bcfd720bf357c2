"""Measure the default model on simulated regions that training never saw, and write the table.

Run as ``.venv/bin/python tools/evaluate_default_model.py --regions 60``. Seeds, calibres, noise, voxel
sizes and the number of lacunes differ from those of training (`HELD_OUT`). The table goes into
`docs/default-model.md` between its two marks, the numbers into `metrics` of the model's card.
"""

import argparse
import json
import logging
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import ndimage

from epvs_bids.analyses.occlusion import cover, mean_level
from epvs_bids.baselines.components import components_above
from epvs_bids.baselines.rescaling import icc_maximising_line
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, load_models
from epvs_bids.network.inference import score
from epvs_bids.simulation.lesions import Mimics
from epvs_bids.simulation.mimics import draw_mimics
from epvs_bids.simulation.region import HELD_OUT, REGION, TRAINING, SimulatedRegion, simulate_region
from epvs_bids.simulation.tubes import volume_fraction
from epvs_bids.statistics.icc import intraclass_correlations

logger = logging.getLogger("evaluate")
FIRST_SEED = 2_000_000_000
NOTHING = Mimics(**dict.fromkeys((kind.name for kind in fields(Mimics)), 0))
TITLE = "| simulated, held out | value |\n| --- | --- |\n"
DOSES = (0, 2, 4, 8, 16)
THRESHOLDS = np.linspace(1.05, 2.5, 15)
RESOLUTIONS = {"0.5 mm": (0.5, 0.5, 0.8, -1), "1 mm": (1.0, 1.0, 1.0, -1), "3 mm slices": (0.6, 0.6, 3.0, 2)}


def rate(models: list[LoadedModel], region: SimulatedRegion | np.ndarray) -> float:
    """Score one region."""
    seen = region.region if isinstance(region, SimulatedRegion) else region
    return score(seen, models, device="cpu", threads=torch.get_num_threads()).score


def components(region: SimulatedRegion) -> np.ndarray:
    """Count connected components above each threshold, relative to the region's typical tissue."""
    product = region.image * region.mask
    tissue = np.median(region.image[region.mask > 0.9])
    return components_above((product / tissue).astype(np.float32), THRESHOLDS)


def agreement(models: list[LoadedModel], regions: int) -> dict[str, float]:
    """Agreement with the truth, of the model and of baseline (c) tuned on training regions."""
    tuning = [simulate_region(FIRST_SEED + 10**6 + i, TRAINING) for i in range(max(regions // 2, 4))]
    counted = np.array([components(region) for region in tuning])
    truth = np.array([float(region.total_count) for region in tuning])
    fits = [icc_maximising_line(counted[:, i], truth) for i in range(len(THRESHOLDS))]
    values = [icc_of(fit.slope * counted[:, i] + fit.intercept, truth) for i, fit in enumerate(fits)]
    best = int(np.nanargmax(values))
    scores, baseline, total, shown, again = [], [], [], [], []
    for index in range(regions):
        region = simulate_region(FIRST_SEED + index, HELD_OUT)
        again.append(
            [rate(models, rescan(FIRST_SEED + index, region, protocol)) for protocol in (True, False)]
        )
        scores.append(rate(models, region))
        baseline.append(fits[best].slope * components(region)[best] + fits[best].intercept)
        total.append(float(region.total_count))
        shown.append(float(region.slice_count))
        logger.info("%d: %d EPVS, score %.1f, again %.1f", index, total[-1], scores[-1], again[-1][0])
    return {
        "regions": regions,
        "ICC(2,1) with the total count": icc_of(scores, total),
        "Pearson with the total count": float(np.corrcoef(scores, total)[0, 1]),
        "bias (score - count)": float(np.mean(np.subtract(scores, total))),
        "ICC(2,1) of baseline (c) with the total count": icc_of(baseline, total),
        "ICC(2,1) with the slice count, rescaled": rescaled_icc(scores, shown),
        "ICC(2,1) of the total with the slice count, rescaled": rescaled_icc(total, shown),
        "scan-rescan ICC(2,1), same protocol": icc_of(scores, [same for same, _ in again]),
        "the same, another protocol (voxels, noise)": icc_of(scores, [other for _, other in again]),
    }


def icc_of(first: ArrayLike, second: ArrayLike) -> float:
    """Two-way random, single measures, absolute agreement."""
    return float(intraclass_correlations(np.column_stack([first, second])).icc21.value)


def rescaled_icc(values: ArrayLike, shown: ArrayLike) -> float:
    """ICC with the slice's count, on the line that makes it largest."""
    return icc_of(icc_maximising_line(np.asarray(values), np.asarray(shown))(values), shown)


def rescan(seed: int, region: SimulatedRegion, same_protocol: bool) -> SimulatedRegion:
    """Scan the same person again: slice position, noise, bias field and segmentation are new.

    The same protocol means its voxels (± 15 %, as the simulator varies them), noise and filters.
    """
    used, settings = region.protocol, HELD_OUT
    if same_protocol:
        axis = -1 if used.thick_axis is None else used.thick_axis
        settings = replace(
            HELD_OUT,
            voxel_sizes=((*used.voxel_size, axis),),
            noise=(used.noise, used.noise),
            blur=(used.blur, used.blur),
            smoothing=(used.smoothing, used.smoothing),
            sharpening=(used.sharpening, used.sharpening),
        )
    return simulate_region(seed, settings, anatomy=region.anatomy, count=region.total_count, scan_number=1)


def dose_response(models: list[LoadedModel], regions: int) -> dict[str, float]:
    """Rise of the score per simulated EPVS, those of a smaller count among those of a larger."""
    slopes = []
    for index in range(regions):
        seed = FIRST_SEED + 2 * 10**7 + index
        anatomy = simulate_region(seed, HELD_OUT).anatomy
        scores = [rate(models, simulate_region(seed, HELD_OUT, anatomy=anatomy, count=n)) for n in DOSES]
        slopes.append(float(np.polyfit(DOSES, scores, 1)[0]))
    return {
        "score added by one EPVS": float(np.mean(slopes)),
        "its standard deviation": float(np.std(slopes)),
    }


def robustness(models: list[LoadedModel], regions: int) -> dict[str, float]:
    """Drift with resolution, and what lacunes and hyperintensities add."""
    means = {name: [] for name in RESOLUTIONS}
    added = {"lacunes": [], "hyperintensities": []}
    for index in range(regions):
        seed = FIRST_SEED + 10**7 + index
        anatomy = simulate_region(seed, HELD_OUT).anatomy
        for name, size in RESOLUTIONS.items():
            settings = replace(HELD_OUT, voxel_sizes=(size,))
            means[name].append(rate(models, simulate_region(seed, settings, anatomy=anatomy)))
        before = rate(models, simulate_region(seed, HELD_OUT, anatomy=anatomy))
        for kind in added:
            more = draw_mimics(np.random.default_rng(seed), anatomy, replace(NOTHING, **{kind: 3.0}))
            after = rate(models, simulate_region(seed, HELD_OUT, anatomy=anatomy, extra=more))
            added[kind] += [(after - before) / len(more)] if more else []
    result = {f"mean score at {name}": float(np.mean(values)) for name, values in means.items()}
    return result | {f"score added by one of the {k}": float(np.mean(v)) for k, v in added.items()}


def covering(models: list[LoadedModel], regions: int) -> dict[str, float]:
    """Measure what the score loses when one EPVS is covered, by the block of section 3.3 or wholly."""
    lost = {"by the paper's block": [], "wholly": []}
    hidden = []
    to_voxel = np.linalg.inv(REGION.affine)
    for index in range(regions):
        region = simulate_region(FIRST_SEED + 3 * 10**7 + index, HELD_OUT, count=3 + 2 * index)
        before, level = rate(models, region.region), mean_level(region.region, region.mask)
        for lesion in [one for one in region.lesions if one.kind == "epvs"][:3]:
            tube = np.zeros(region.mask.shape, np.float32)
            part, tube_part = volume_fraction(lesion.tube, REGION.affine, tube.shape)
            tube[part] = tube_part
            centre = to_voxel[:3, :3] @ lesion.tube.centre + to_voxel[:3, 3]
            block = cover(region.region, region.mask, centre[None], level=level)
            hidden.append(tube[block != region.region].sum() / tube.sum())
            near = ndimage.binary_dilation(tube > 0.1, iterations=2)
            whole = np.where(near, level * region.mask, region.region).astype(np.float32)
            for image, values in zip((block, whole), lost.values(), strict=True):
                values.append(before - rate(models, image))
    result = {f"score lost when one EPVS is covered {how}": float(np.mean(v)) for how, v in lost.items()}
    return {"part of an EPVS that the paper's block covers": float(np.mean(hidden))} | result


def write(results: dict[str, float], model: Path, page: Path) -> None:
    """Put the results into the model's card and the page."""
    path = model / "model.json"
    description = json.loads(path.read_text())
    description["metrics"] = {"simulated, held out": {k: round(v, 3) + 0.0 for k, v in results.items()}}
    path.write_text(json.dumps(description, indent=2) + "\n")
    rows = "\n".join(f"| {name} | {round(value, 2) + 0.0:.2f} |" for name, value in results.items())
    before, rest = page.read_text().split("<!-- measured -->\n")
    after = rest.split("<!-- end -->\n")[1]
    page.write_text(f"{before}<!-- measured -->\n{TITLE}{rows}\n<!-- end -->\n{after}")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=60)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--page", type=Path, default=Path("docs/default-model.md"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models = load_models(options.model)
    few = max(options.regions // 6, 2)
    results = agreement(models, options.regions) | robustness(models, few)
    results |= dose_response(models, few) | covering(models, few)
    write(results, options.model, options.page)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
