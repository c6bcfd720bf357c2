"""What is measured on: a simulated scan of 512 × 512 × 192 voxels, copies of a scan, empty files, tables."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import FOLDER

SHAPE = (512, 512, 192)
"""The paper's scans: 0.49 × 0.49 × 0.8 mm."""
_VOXEL_SIZE = (0.49, 0.49, 0.8)
_NOISE = 12.0
"""Grey levels of the air around the head."""


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the data, making it aside first where it is not there."""
    folder = FOLDER / "data" / name
    if not folder.is_dir():
        aside = folder.with_name(f"{name}.new")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        make(aside)
        aside.rename(folder)
    return folder


def paper_scan() -> Path:
    """Return a data set with one simulated PDw scan of the paper's matrix, and its labels as FreeSurfer's."""
    return _made("paper-scan", _make_paper_scan)


def _make_paper_scan(folder: Path) -> None:
    from epvs_bids.anatomy.images import load_labels, load_volume, save_volume
    from epvs_bids.simulation.cohort import CohortSettings, simulate_cohort
    from epvs_bids.simulation.writing import Place, write_segmentation

    simulate_cohort(folder, CohortSettings(participants=1, voxel_size=_VOXEL_SIZE, seed=1))
    scan = folder / "sub-01" / "anat" / "sub-01_PDw.nii.gz"
    volume = load_volume(scan)
    labels, _ = load_labels(folder / "derivatives" / "freesurfer" / "sub-01" / "mri" / "aseg.mgz")
    data, affine = _fitted(volume.data, volume.affine)
    air = np.abs(np.random.default_rng(0).normal(0, _NOISE, SHAPE)).astype(np.float32)
    save_volume(scan, np.where(data == 0, air, data), affine, np.int16)
    write_segmentation(Place(folder, "sub-01", None), _fitted(labels, affine)[0].astype(np.int16), affine)
    shutil.rmtree(folder / "derivatives" / "simulation")


def _fitted(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pad and cut an image to `SHAPE` about its middle."""
    start = [(size - wanted) // 2 for size, wanted in zip(data.shape, SHAPE, strict=True)]
    out = np.zeros(SHAPE, dtype=data.dtype)
    source, target = [], []
    for first, size, wanted in zip(start, data.shape, SHAPE, strict=True):
        source.append(slice(max(first, 0), min(first + wanted, size)))
        target.append(slice(max(-first, 0), max(-first, 0) + min(wanted, size)))
    out[tuple(target)] = data[tuple(source)]
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ start
    return out, moved


def copies(participants: int) -> Path:
    """Return a data set of so many participants, all with the same simulated scan of 1 mm and its labels."""
    return _made(f"copies-{participants}", lambda folder: _make_copies(folder, participants))


def _make_copies(folder: Path, participants: int) -> None:
    from epvs_bids.simulation.cohort import CohortSettings, simulate_cohort

    if participants == 1:
        simulate_cohort(folder, CohortSettings(participants=1, voxel_size=(1.0, 1.0, 1.0), seed=2))
        return
    one = copies(1)
    shutil.copy(one / "dataset_description.json", folder)
    for number in range(1, participants + 1):
        label = f"sub-{number:02d}"
        (folder / label / "anat").mkdir(parents=True)
        for path in (one / "sub-01" / "anat").iterdir():
            os.link(path, folder / label / "anat" / path.name.replace("sub-01", label))
        subject = folder / "derivatives" / "freesurfer" / label
        shutil.copytree(one / "derivatives" / "freesurfer" / "sub-01", subject, copy_function=os.link)


def empty_files(participants: int, sessions: int) -> Path:
    """Return a data set of empty files: T1w, PDw, T2w, FLAIR, diffusion and a sidecar for each session."""
    name = f"empty-{participants}x{sessions}"
    return _made(name, lambda folder: _make_empty_files(folder, participants, sessions))


def _make_empty_files(folder: Path, participants: int, sessions: int) -> None:
    description = {"Name": "Empty files", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    for number in range(1, participants + 1):
        for session in range(1, sessions + 1):
            home = folder / f"sub-{number:04d}" / f"ses-{session}"
            stem = f"sub-{number:04d}_ses-{session}"
            for kind in ("anat", "dwi"):
                (home / kind).mkdir(parents=True)
            for suffix in ("T1w", "PDw", "T2w", "FLAIR"):
                (home / "anat" / f"{stem}_{suffix}.nii.gz").touch()
                (home / "anat" / f"{stem}_{suffix}.json").write_text("{}", encoding="ascii")
            for ending in ("nii.gz", "bval", "bvec"):
                (home / "dwi" / f"{stem}_dwi.{ending}").touch()


def scored(participants: int) -> Path:
    """Return a folder with `bids` and `out` of a study that is scored already: two sessions, three raters."""
    return _made(f"scored-{participants}", lambda folder: _make_scored(folder, participants))


def _make_scored(folder: Path, participants: int) -> None:
    generator = np.random.default_rng(3)
    labels = [f"sub-{number:04d}" for number in range(1, participants + 1)]
    age = generator.uniform(60, 95, participants).round(1)
    counts = generator.negative_binomial(1.5, 1.5 / (1.5 + 7 * 1.3 ** ((age - 65) / 10)))
    bids, out = folder / "bids", folder / "out"
    (bids / "phenotype").mkdir(parents=True)
    (bids / "dataset_description.json").write_text('{"Name": "Scored", "BIDSVersion": "1.10.0"}')
    people = {"participant_id": labels, "age": age, "sex": generator.choice(["F", "M"], participants)}
    pd.DataFrame(people).to_csv(bids / "participants.tsv", sep="\t", index=False)
    ratings = {f"rater{k}": np.maximum(counts + generator.integers(-2, 3, participants), 0) for k in "ABC"}
    table = pd.DataFrame({"participant_id": labels, "session_id": "ses-1", **ratings})
    table.to_csv(bids / "phenotype" / "epvs.tsv", sep="\t", index=False)
    for label, count in zip(labels, counts, strict=True):
        for session in ("ses-1", "ses-2"):
            anat = out / label / session / "anat"
            anat.mkdir(parents=True)
            score = max(0.0, count + generator.normal(0, 2))
            row = {"region": "BG", "score": round(score, 3), "score_sd": 0.5, "potter_class": 1}
            row |= {"model": "default", "segmentation": "SAMSEG", "qc_pass": "true", "qc_reason": "n/a"}
            path = anat / f"{label}_{session}_desc-epvs_scores.tsv"
            pd.DataFrame([row]).to_csv(path, sep="\t", index=False)
