"""Measure the default model on real scans: known EPVS planted, scans turned, bright spots covered.

Run as ``.venv/bin/python tools/evaluate_on_scans.py BIDS_DIR OUTPUT_DIR`` after the participant level has
run. Plants known EPVS into each scan on its own grid, makes the region anew with the transform that is there,
and scores it; rotates, shifts and turns the scan; covers its brightest spots. The table goes into
`docs/default-model.md` between its two marks.
"""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from nibabel.orientations import apply_orientation, inv_ornt_aff
from numpy.typing import NDArray
from scipy import ndimage, stats

from epvs_bids.analyses.occlusion import cover
from epvs_bids.anatomy.grid import Grid, template_grid
from epvs_bids.anatomy.images import Volume, load_labels, load_volume
from epvs_bids.anatomy.initialisation import rotation_about
from epvs_bids.anatomy.labels import basal_ganglia_mask
from epvs_bids.anatomy.registration import load_itk
from epvs_bids.anatomy.roi import Roi, RoiParameters, region_of_scan
from epvs_bids.anatomy.template import get_template
from epvs_bids.files import read_json
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, load_models
from epvs_bids.network.inference import score
from epvs_bids.simulation.plant import plant

logger = logging.getLogger("evaluate")
DOSES = (0, 2, 4, 8, 16)
SPOTS = 6
START, END = "<!-- scans -->\n", "<!-- end of scans -->\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan of the data set, with what the participant level made of it."""

    name: str
    scan: Volume
    labels: NDArray[np.int32]
    transform: NDArray[np.float64]
    grid: Grid


def cases(bids_dir: Path, output_dir: Path) -> Iterator[Case]:
    """Read every scan whose label image and transform are in the output."""
    for path in sorted(output_dir.glob("sub-*/**/*_desc-aseg_dseg.nii.gz")):
        sidecar = read_json(path.with_name(path.name.replace(".nii.gz", ".json")))
        name = path.name.removesuffix("_desc-aseg_dseg.nii.gz")
        source = bids_dir / unquote(sidecar["Sources"][0].removeprefix("bids:raw:"))
        suffix = source.name.split(".")[0].rpartition("_")[2]
        transform = next(path.parent.glob(f"{name}_from-{suffix}_to-*_mode-image_xfm.txt"))
        space = transform.name.partition("_to-")[2].partition("_")[0]
        template = get_template(space, suffix).image
        yield Case(
            name=f"{name}_{suffix}",
            scan=load_volume(source),
            labels=load_labels(path)[0],
            transform=load_itk(transform),
            grid=template_grid(template.affine, template.data.shape),
        )


def region(case: Case, move: NDArray[np.float64] | None = None) -> Roi:
    """Make the region of a scan, moved by a 4 × 4 matrix in the template's space before."""
    return region_of_scan(
        case.scan.data,
        case.scan.affine,
        mask=basal_ganglia_mask(case.labels),
        transform=case.transform if move is None else case.transform @ move,
        grid=case.grid,
        params=RoiParameters(),
    )


def turned(case: Case, orientation: str) -> Case:
    """Store the same scan with its axes in another order and direction."""
    image = nib.Nifti1Image(case.scan.data, case.scan.affine)
    start = nib.io_orientation(image.affine)
    change = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(orientation))
    data = np.ascontiguousarray(apply_orientation(case.scan.data, change))
    affine = image.affine @ inv_ornt_aff(change, image.shape)
    labels = np.ascontiguousarray(apply_orientation(case.labels, change))
    return replace(case, scan=replace(case.scan, data=data, affine=affine), labels=labels)


def brightest_spots(roi: Roi) -> NDArray[np.float64]:
    """Find the spots that stand out most inside the basal ganglia, whatever the model thinks of them.

    Returns
    -------
    centres
        (at most 6, 3) voxel indices: peaks of the white top-hat (3.5 mm), 2 mm and more inside the mask, not
        part of large fluid.
    """
    tissue = np.median(roi.image[roi.mask > 0.95])
    fluid = ndimage.binary_opening(roi.image > 1.6 * tissue, iterations=4)
    edge = ndimage.binary_dilation((roi.mask < 0.9) | fluid, iterations=4)
    smooth = ndimage.gaussian_filter(roi.image, 0.8)
    stands_out = np.where(edge, 0, ndimage.white_tophat(smooth, 7))
    peaks = (ndimage.maximum_filter(stands_out, 9) == stands_out) & (stands_out > 0)
    found = np.argwhere(peaks)
    order = np.argsort(-stands_out[tuple(found.T)])[:SPOTS]
    return found[order].astype(np.float64)


def measure(case: Case, models: list[LoadedModel], seeds: range) -> dict[str, float | str]:
    """Score one scan in all its variants."""

    def rate(data: NDArray[np.float32]) -> float:
        return score(data, models, device="cpu", threads=torch.get_num_threads()).score

    plain = region(case)
    curves = []
    for seed in seeds:
        planted = [plant(case.scan, case.labels, dose, seed)[0] for dose in DOSES[1:]]
        scores = [rate(region(replace(case, scan=scan)).data) for scan in planted]
        curves.append([rate(plain.data), *scores])
    shift = np.eye(4)
    shift[:3, 3] = 0.25
    centre = plain.affine[:3, :3] @ (np.array(plain.data.shape) / 2) + plain.affine[:3, 3]
    covered = cover(plain.data, plain.mask, brightest_spots(plain))
    slopes = [float(np.polyfit(DOSES, curve, 1)[0]) for curve in curves]
    row: dict[str, float | str] = {"scan": case.name}
    row |= {str(dose): value for dose, value in zip(DOSES, np.mean(curves, axis=0), strict=True)}
    return row | {
        "a planted EPVS": float(np.mean(slopes)),
        "Spearman": min(float(stats.spearmanr(DOSES, curve).statistic) for curve in curves),
        "rotated 5°": rate(region(case, rotation_about(centre, (0.0, 0.0, 5.0))).data),
        "half a voxel": rate(region(case, shift).data),
        "re-oriented": rate(region(turned(case, "PSR")).data),
        f"{SPOTS} spots covered": rate(covered),
    }


def write(rows: pd.DataFrame, page: Path) -> None:
    """Put the table into the page."""
    head = "| " + " | ".join(rows.columns) + " |\n" + "| --- " * len(rows.columns) + "|\n"
    slopes = rows["a planted EPVS"]
    decimals = {"a planted EPVS": 2, "Spearman": 2}
    lines = [
        "| "
        + " | ".join(v if isinstance(v, str) else f"{v:.{decimals.get(k, 1)}f}" for k, v in row.items())
        + " |"
        for row in rows.to_dict("records")
    ]
    ratio = f"\nLargest slope ÷ smallest: {slopes.max() / slopes.min():.2f}.\n"
    before, rest = page.read_text().split(START)
    page.write_text(before + START + head + "\n".join(lines) + "\n" + ratio + END + rest.split(END)[1])


def main() -> None:
    """Measure every scan and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--seeds", type=int, default=3, help="plantings of each dose")
    parser.add_argument("--page", type=Path, default=Path("docs/default-model.md"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models = load_models(options.model)
    rows = []
    for case in cases(options.bids_dir, options.output_dir):
        rows.append(measure(case, models, range(1, options.seeds + 1)))
        logger.info(" ".join(f"{k} {v if isinstance(v, str) else round(v, 2)}" for k, v in rows[-1].items()))
    write(pd.DataFrame(rows), options.page)


if __name__ == "__main__":
    main()
