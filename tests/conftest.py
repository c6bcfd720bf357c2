"""Fixtures that all tests share: real scans where they are at hand, and a small simulated data set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray
from scipy import ndimage

STRUCTURES = {
    11: ((-13, 10, 10), (4, 11, 7)),
    50: ((13, 10, 10), (4, 11, 7)),
    12: ((-26, 2, 2), (5, 15, 8)),
    51: ((26, 2, 2), (5, 15, 8)),
    13: ((-19, -4, 0), (3, 8, 5)),
    52: ((19, -4, 0), (3, 8, 5)),
    26: ((-10, 12, -7), (4, 5, 3)),
    58: ((10, 12, -7), (4, 5, 3)),
}
"""FreeSurfer's labels of the basal ganglia, as ellipsoids: centre and half axes in mm of MNI space."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real scans: EPVS_TEST_DATA, or `shared/data` beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EPVS_TEST_DATA", beside))
    if not (folder / "real-bids").is_dir():
        pytest.skip(f"no real scans at {folder}; set EPVS_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def head() -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """A head of 3 mm voxels with T2-like contrast, 8 mm and 5 degrees off MNI space, and its labels."""
    template, mask = load_mni152_template(resolution=3), load_mni152_brain_mask(resolution=3)
    brain = np.asarray(mask.dataobj) > 0
    t1w = template.get_fdata(dtype=np.float32)
    inverted = np.where(brain, 1.2 * t1w.max() - t1w, 0.1 * t1w.max())
    noise = np.random.default_rng(1).normal(0, 0.02 * t1w.max(), t1w.shape)
    scan = np.maximum(ndimage.gaussian_filter(inverted, 0.5) + noise, 0) * 100
    affine = _offset() @ template.affine
    labels = label_image(brain, template.affine)
    return nib.Nifti1Image(scan.astype(np.int16), affine), nib.Nifti1Image(labels, affine)


def label_image(brain: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.int16]:
    """Label white matter of both hemispheres and the basal ganglia, on a grid in MNI space."""
    index = np.indices(brain.shape).reshape(3, -1)
    x, y, z = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *brain.shape)
    labels = np.where(brain, np.where(x < 0, 2, 41), 0).astype(np.int16)
    for label, (centre, axes) in STRUCTURES.items():
        distance = sum(((v - c) / a) ** 2 for v, c, a in zip((x, y, z), centre, axes, strict=True))
        labels[(distance <= 1) & brain] = label
    return labels


def _offset() -> NDArray[np.float64]:
    angle = np.deg2rad(5)
    offset = np.eye(4)
    offset[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    offset[:3, 3] = (8, -5, 4)
    return offset


@pytest.fixture(scope="session")
def describe_dataset() -> Callable[[Path], Path]:
    """Make a folder a BIDS data set."""
    return _describe_dataset


def _describe_dataset(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    description = {
        "Name": "Simulated",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["A", "B"],
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("Simulated scans for tests, with a segmentation for each of them.\n" * 4)
    return root


@pytest.fixture
def empty_files(tmp_path: Path) -> Callable[..., Path]:
    """Make a data set of empty files, given by their paths."""

    def make(*names: str) -> Path:
        root = _describe_dataset(tmp_path / "bids")
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return root

    return make


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained networks for regions made without registration: an ensemble, fast to run."""
    import torch

    from epvs_bids.anatomy.roi import RoiParameters
    from epvs_bids.network.architecture import Architecture, build_network
    from epvs_bids.network.checkpoint import ModelDescription, save_ensemble, save_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    architecture = Architecture(features=2, blocks=1, convolutions=1, dense=())
    for number in (1, 2):
        torch.manual_seed(number)
        description = ModelDescription(
            architecture=architecture,
            input_shape=(168, 128, 84),
            preprocessing=RoiParameters(registration=False).to_dict(),
            card="Untrained, for tests.",
        )
        save_model(folder / f"model-{number}", build_network(architecture, (168, 128, 84)), description)
    save_ensemble(folder, 2)
    return folder


@pytest.fixture(scope="session")
def add_scan() -> Callable[..., Path]:
    """Add a scan, given by its name (`sub-01_ses-1_T2w`), and its segmentation to a data set."""
    return _add_scan


def _add_scan(
    root: Path, name: str, head: tuple[nib.Nifti1Image, nib.Nifti1Image], *, labels: bool = True
) -> Path:
    entities = name.split("_")
    folder = root.joinpath(*(part for part in entities if part.startswith(("sub-", "ses-"))), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(head[0], folder / f"{name}.nii.gz")
    if labels:
        subject = "_".join(part for part in entities if part.startswith(("sub-", "ses-")))
        results = root / "derivatives" / "samseg" / subject
        results.mkdir(parents=True, exist_ok=True)
        data = np.asarray(head[1].dataobj).astype(np.int32)
        nib.save(nib.MGHImage(data, head[1].affine), results / "seg.mgz")
    return folder / f"{name}.nii.gz"


@pytest.fixture(scope="session")
def scans_in(
    head: tuple[nib.Nifti1Image, nib.Nifti1Image], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Make a data set, in a folder of its own, of scans given by their names."""

    def make(*names: str) -> Path:
        root = _describe_dataset(tmp_path_factory.mktemp("scans") / "bids")
        for name in names:
            _add_scan(root, name, head)
        return root

    return make


@pytest.fixture(scope="session")
def small_bids(
    tmp_path_factory: pytest.TempPathFactory, head: tuple[nib.Nifti1Image, nib.Nifti1Image]
) -> Path:
    """Two participants, one with two sessions, and their segmentations in derivatives; not to be changed."""
    root = _describe_dataset(tmp_path_factory.mktemp("small") / "bids")
    for name in ("sub-01_PDw", "sub-02_ses-1_T2w", "sub-02_ses-2_T2w"):
        _add_scan(root, name, head)
    return root
