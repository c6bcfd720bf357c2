"""A realistic output folder: small images with the names and tables that the app writes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from epvs_bids.bids.derivatives import own_uri
from epvs_bids.reports.style import new_figure, save_svg

SPACE = "MNI152NLin2009cAsym"
EVIL = "sub-<script>document.title='broken'<"
"""A label that would run if any page forgot to escape it ("/" can't be part of a folder's name)."""


def _grid(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def _inside(
    points: np.ndarray, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> np.ndarray:
    return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(-1) < 1


def _head(points: np.ndarray, seed: int) -> np.ndarray:
    """A head like a T2 scan: skull, grey rim, white matter, ventricles, noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros(points.shape[:3])
    for centre, radii, value in (
        ((0, -18, 5), (72, 92, 78), 250),
        ((0, -18, 5), (68, 88, 74), 420),
        ((0, -18, 5), (60, 80, 66), 300),
        ((-10, 5, 12), (5, 24, 10), 700),
        ((10, 5, 12), (5, 24, 10), 700),
    ):
        image[_inside(points, centre, radii)] = value
    return image + np.abs(rng.normal(0, 12, image.shape))


def _save(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)


def write_images(
    output_dir: Path, name: str, *, seed: int = 0, suffix: str = "T2w", saliency: bool = True
) -> None:
    """Write the images of one scan (`name` as in `sub-01_ses-1`)."""
    parts = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    stem = output_dir.joinpath(*parts, "anat", f"{name}_space-{SPACE}_res-05_")
    head = stem.with_name(stem.name.replace("res-05", "res-1"))
    coarse = np.array([[3.0, 0, 0, -81], [0, 3, 0, -120], [0, 0, 3, -78], [0, 0, 0, 1]])
    fine = np.array([[1.0, 0, 0, -42], [0, 1, 0, -28], [0, 0, 1, -22], [0, 0, 0, 1]])
    box = (84, 64, 42)
    points = _grid(fine, box)
    basal = np.zeros(box, bool)
    for side in (-1, 1):
        basal |= _inside(points, (side * 25, 2, 0), (7, 18, 13)) | _inside(
            points, (side * 14, 12, 8), (5, 10, 9)
        )
    mask = ndimage.gaussian_filter(basal.astype(float), 1.0)
    dots = np.random.default_rng(seed).random(box) > 0.998
    bright = ndimage.gaussian_filter(dots.astype(float), 0.7) * 900
    region = (_head(points, seed) + bright) * mask
    whole = _grid(coarse, (55, 70, 58))
    _save(head.with_name(f"{head.name}desc-preproc_{suffix}.nii.gz"), _head(whole, seed), coarse)
    _save(stem.with_name(f"{stem.name}desc-preproc_{suffix}.nii.gz"), _head(points, seed) + bright, fine)
    _save(stem.with_name(f"{stem.name}label-BG_desc-smooth_probseg.nii.gz"), mask, fine)
    _save(stem.with_name(f"{stem.name}label-BG_desc-roi_{suffix}.nii.gz"), region / region.max(), fine)
    if saliency:
        sign = np.random.default_rng(seed + 1).normal(0, 0.02, box)
        _save(
            stem.with_name(f"{stem.name}label-BG_desc-saliency_{suffix}.nii.gz"),
            (bright / 900 + sign) * mask,
            fine,
        )


def write_scores(
    output_dir: Path,
    name: str,
    score: float,
    *,
    qc_pass: bool = True,
    reason: str = "n/a",
    suffix: str = "T2w",
) -> None:
    """Write the score of one scan and its sidecar."""
    parts = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    folder = output_dir.joinpath(*parts, "anat")
    folder.mkdir(parents=True, exist_ok=True)
    row = {
        "region": "BG",
        "score": round(score, 4),
        "score_sd": 0.8,
        "potter_class": int(np.digitize(score, [0.5, 10.5, 20.5, 40.5])),
        "model": "default",
        "segmentation": "SAMSEG 0.4a0",
        "qc_pass": str(qc_pass).lower(),
        "qc_reason": reason,
    }
    pd.DataFrame([row]).to_csv(folder / f"{name}_desc-epvs_scores.tsv", sep="\t", index=False, na_rep="n/a")
    region = f"space-{SPACE}_res-05_label-BG_desc-roi"
    sidecar = {
        "score": {"Description": "Number of EPVS", "Units": "EPVS"},
        "Sources": [own_uri(output_dir, folder / f"{name}_{region}_{suffix}.nii.gz")],
        "BasalGangliaVolume": {"Value": 19.94, "Units": "mL"},
        "Registration": {"metric": -0.613, "dice": 0.934, "passed": True},
        "SoftwareVersions": {"torch": "2.13.0", "SimpleITK": "2.5.7"},
    }
    (folder / f"{name}_desc-epvs_scores.json").write_text(json.dumps(sidecar))


def write_run(output_dir: Path) -> None:
    """Write what the run says of itself, and the template that was kept."""
    description = {
        "Name": "EPVS",
        "GeneratedBy": [{"Name": "epvs-bids", "Version": "0.1.0", "CodeURL": "https://x"}],
    }
    (output_dir / "dataset_description.json").write_text(json.dumps(description))
    logs = output_dir / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "settings.json").write_text(json.dumps({"segmentation": "auto", "group": {"rater": None}}))
    (logs / "CITATION.md").write_text(
        "# Methods\n\nScans were registered with *elastix* ([Klein 2010](https://doi.org/10.1109/TMI.2009.2035616)).\n\n"
        "## References\n\n- Dubost F, 2019. 3D Regression Neural Network.\n- Klein S, 2010. elastix.\n"
    )
    affine = np.array([[3.0, 0, 0, -81], [0, 3, 0, -120], [0, 0, 3, -78], [0, 0, 0, 1]])
    _save(
        output_dir / "figures" / f"tpl-{SPACE}_desc-report_T2w.nii.gz",
        _head(_grid(affine, (55, 70, 58)), 9),
        affine,
    )


def write_group(output_dir: Path, count: int, *, label: str = "sub-{:04d}") -> pd.DataFrame:
    """Write the group level's tables and figures for `count` scans, two of which stand out and one failed."""
    rng = np.random.default_rng(0)
    scores = rng.negative_binomial(2, 0.25, count) + rng.uniform(0, 1, count)
    scores[3], scores[4] = 140.0, 160.0
    frame = pd.DataFrame(
        {
            "participant_id": [label.format(index) for index in range(count)],
            "session_id": "n/a",
            "scan": [label.format(index) for index in range(count)],
            "region": "BG",
            "score": scores.round(4),
            "score_sd": rng.uniform(0.2, 1.5, count).round(3),
            "potter_class": np.digitize(scores, [0.5, 10.5, 20.5, 40.5]),
            "qc_pass": [str(index != 5).lower() for index in range(count)],
            "qc_reason": [
                "registration: Dice 0.41 < 0.80" if index == 5 else "n/a" for index in range(count)
            ],
            "age": rng.uniform(45, 90, count).round(1),
        }
    )
    frame.to_csv(output_dir / "group_scores.tsv", sep="\t", index=False)
    gone = pd.DataFrame(
        [("sub-9999", "n/a", "gunzip: the file is <truncated>")],
        columns=["participant_id", "session_id", "reason"],
    )
    gone.to_csv(output_dir / "group_summary_missing.tsv", sep="\t", index=False)
    agreement = pd.DataFrame(
        {"measure": ["ICC(2,1)", "Pearson"], "value": [0.7412345, 0.75], "ci_low": [0.69, 0.70]}
    )
    agreement.to_csv(output_dir / "group_agreement.tsv", sep="\t", index=False)
    figure, axis = new_figure(width=4, height=3)
    axis.scatter(scores, scores + rng.normal(0, 2, count), s=8)
    axis.set(xlabel="visual count (EPVS)", ylabel="score (EPVS)", title="Scatter")
    save_svg(figure, output_dir / "figures" / "group_agreement_scatter.svg")
    done = {
        "name": "agreement", "status": "done", "reason": "", "summary": "ICC(2,1) 0.74.",
        "numbers": {"icc": {"value": 0.7412345}}, "notes": ["3 ratings left out"],
        "tables": ["group_agreement.tsv", "../secret.tsv"],
        "figures": ["figures/group_agreement_scatter.svg"], "seconds": 1.0,
    }  # fmt: skip
    skipped = {"name": "age", "status": "skipped", "reason": "no <b>ages</b> in participants.tsv"}
    (output_dir / "group_results.json").write_text(
        json.dumps({"version": "0.1.0", "analyses": [done, skipped]})
    )
    return frame


@pytest.fixture(scope="session")
def outputs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a study: one participant with images, one with two sessions, and one with an evil name."""
    output_dir = tmp_path_factory.mktemp("outputs")
    write_run(output_dir)
    write_group(output_dir, 60, label="sub-{:02d}")
    for index, name in enumerate(("sub-01", "sub-02_ses-1", "sub-02_ses-2")):
        write_scores(output_dir, name, 12.34 + index)
    write_images(output_dir, "sub-01")
    write_scores(output_dir, EVIL, 5.0, qc_pass=False, reason="<img src=x onerror=alert(1)>")
    status = {
        "participant_id": "sub-03",
        "scan": "sub-03_T2w",
        "result": "failed",
        "reason": "sub-03_T2w.nii.gz ends too early",
        "exit_code": 65,
    }
    (output_dir / "logs" / "scans").mkdir()
    (output_dir / "logs" / "scans" / "sub-03_T2w.json").write_text(json.dumps(status))
    return output_dir
