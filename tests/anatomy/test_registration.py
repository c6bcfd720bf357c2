"""Rigid registration on a small head with known offsets, and the check of the result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from epvs_bids.anatomy.images import Volume, load_labels, load_volume
from epvs_bids.anatomy.initialisation import LANDMARKS, mirrored, rotation_about
from epvs_bids.anatomy.labels import basal_ganglia_mask, brain_mask
from epvs_bids.anatomy.registration import (
    RigidTransform,
    check_registration,
    load_itk,
    register_rigid,
    register_to_template,
    save_itk,
)
from epvs_bids.errors import BadDataError

Head = tuple[nib.Nifti1Image, nib.Nifti1Image]


@pytest.fixture(scope="module")
def template() -> tuple[Volume, np.ndarray]:
    image, mask = load_mni152_template(resolution=3), load_mni152_brain_mask(resolution=3)
    return Volume(image.get_fdata(dtype=np.float32), image.affine, Path("template")), mask.get_fdata() > 0


def scan_of(head: Head, offset: np.ndarray) -> tuple[Volume, np.ndarray]:
    """Move the head of the fixture; returns the scan and its labels."""
    data = head[0].get_fdata(dtype=np.float32)
    return Volume(data, offset @ head[0].affine, Path("scan")), np.asarray(head[1].dataobj).astype(np.int32)


def error(found: np.ndarray, truth: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> float:
    """Return the mean distance over the basal ganglia in mm; `affine` is that of the labels in MNI space."""
    points = np.argwhere(basal_ganglia_mask(labels)) @ affine[:3, :3].T + affine[:3, 3]
    moved = [points @ m[:3, :3].T + m[:3, 3] for m in (found, truth)]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).mean())


@pytest.mark.parametrize(
    ("angles", "shift"),
    [((20.0, 0.0, 0.0), (30, 0, 0)), ((0.0, -20.0, 0.0), (0, -30, 0)), ((-20.0, 20.0, 20.0), (-30, 30, -30))],
)
def test_known_offsets_are_recovered(
    head: Head,
    template: tuple[Volume, np.ndarray],
    angles: tuple[float, ...],
    shift: tuple[float, ...],
) -> None:
    offset = rotation_about(np.zeros(3), angles)
    offset[:3, 3] += shift
    scan, labels = scan_of(head, offset)
    image, mask = template
    truth = scan.affine @ np.linalg.inv(image.affine)
    found = register_to_template(image, mask, scan, labels)
    assert error(found.matrix, truth, labels, image.affine) < 0.5
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-6)
    check = check_registration(
        found, template_mask=mask, template_affine=image.affine, labels=labels, affine=scan.affine
    )
    assert check.passed, check.reason
    assert check.dice > 0.9


def test_an_offset_is_found_without_labels(head: Head, template: tuple[Volume, np.ndarray]) -> None:
    offset = rotation_about(np.zeros(3), (-20.0, 20.0, 20.0))
    offset[:3, 3] += (-30, 30, -30)
    scan, labels = scan_of(head, offset)
    image, mask = template
    found = register_rigid(image, scan, fixed_mask=mask, moving_mask=brain_mask(labels))
    assert error(found.matrix, scan.affine @ np.linalg.inv(image.affine), labels, image.affine) < 0.5


def test_partly_covered_and_thick_sliced(head: Head, template: tuple[Volume, np.ndarray]) -> None:
    whole, labels = scan_of(head, np.eye(4))
    image, mask = template
    truth = whole.affine @ np.linalg.inv(image.affine)
    first, last = 15, 45
    thick = (whole.data[:, :, first:last:2] + whole.data[:, :, first + 1 : last : 2]) / 2
    affine = whole.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, first + 0.5], [0, 0, 0, 1.0]])
    scan = Volume(thick, affine, Path("scan"))
    found = register_to_template(image, mask, scan, labels[:, :, first:last:2])
    assert error(found.matrix, truth, labels, image.affine) < 1.0


def test_a_slab_of_less_than_half_of_the_brain_passes_the_check(
    head: Head, template: tuple[Volume, np.ndarray]
) -> None:
    """45 mm around the basal ganglia."""
    whole, labels = scan_of(head, np.eye(4))
    image, mask = template
    first, last = 21, 36
    affine = whole.affine.copy()
    affine[:3, 3] += whole.affine[:3, :3] @ (0, 0, first)
    scan = Volume(np.ascontiguousarray(whole.data[:, :, first:last]), affine, Path("scan"))
    part = np.ascontiguousarray(labels[:, :, first:last])
    found = register_to_template(image, mask, scan, part)
    check = check_registration(
        found, template_mask=mask, template_affine=image.affine, labels=part, affine=affine
    )
    assert check.passed, check.reason
    assert error(found.matrix, whole.affine @ np.linalg.inv(image.affine), labels, image.affine) < 1.0


def test_same_seed_same_result(head: Head, template: tuple[Volume, np.ndarray]) -> None:
    scan, labels = scan_of(head, np.eye(4))
    once, again = (register_to_template(*template, scan, labels, seed=7) for _ in range(2))
    np.testing.assert_array_equal(once.matrix, again.matrix)
    assert once.metric == again.metric


def test_misplaced_brain_fails_the_check(head: Head, template: tuple[Volume, np.ndarray]) -> None:
    scan, labels = scan_of(head, np.eye(4))
    image, mask = template
    truth = scan.affine @ np.linalg.inv(image.affine)

    def check(transform: np.ndarray, metric: float = 0.3, turned: float = 0.6) -> str:
        return check_registration(
            RigidTransform(transform, metric, turned=turned),
            template_mask=mask,
            template_affine=image.affine,
            labels=labels,
            affine=scan.affine,
        ).reason

    assert check(truth) == ""
    assert "structures" in check(truth @ rotation_about(np.array([0.0, -18, 8]), (0.0, 0.0, 180.0)))
    assert "information" in check(truth, 0.01)
    assert "after a half turn" in check(truth, turned=0.95)
    assert check(truth, turned=np.nan) == ""  # too little of the brain was scanned to tell
    assert "misplaced" in check(np.eye(4) + _far())
    assert "misplaced" in check(np.full((4, 4), np.nan))


def test_a_brain_that_lies_on_its_back_fails_the_check() -> None:
    """The mask alone would pass: a brain is nearly as high as it is long."""
    ball = np.indices((60, 60, 60)) - 30
    mask = np.square(ball).sum(axis=0) < 24**2
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = -120
    labels = np.where(mask, 2, 0)
    for label, place in LANDMARKS.items():
        x, y, z = np.rint((np.array(place) + 120) / 4).astype(int)
        labels[x, y, z] = label
    for angle, passed in ((0.0, True), (90.0, False)):
        transform = RigidTransform(rotation_about(np.zeros(3), (angle, 0.0, 0.0)), 0.3)
        check = check_registration(
            transform, template_mask=mask, template_affine=affine, labels=labels, affine=affine
        )
        assert check.dice > 0.9
        assert check.passed == passed


def test_labels_that_are_turned_against_the_scan_fail_the_check(
    head: Head, template: tuple[Volume, np.ndarray]
) -> None:
    """They agree with themselves: only the scan tells."""
    scan, labels = scan_of(head, np.eye(4))
    image, mask = template
    for axes, passed in (((), True), ((1, 2), False)):
        lying = np.ascontiguousarray(np.flip(labels, axes)) if axes else labels
        found = register_to_template(image, mask, scan, lying)
        check = check_registration(
            found, template_mask=mask, template_affine=image.affine, labels=lying, affine=scan.affine
        )
        assert check.passed == passed, (axes, found.turned, check)
        assert found.turned < 0.75 if passed else found.turned > 0.85, axes


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_labels_fail_the_check(axis: int) -> None:
    rng = np.random.default_rng(axis)
    flip = np.eye(3)
    flip[axis, axis] = -1
    turn = rotation_about(np.zeros(3), (20.0, -10.0, 15.0))[:3, :3]
    for _ in range(20):
        moved = {label: turn @ np.array(place) + rng.normal(0, 2.5, 3) for label, place in LANDMARKS.items()}
        assert not mirrored(moved)
        assert mirrored({label: turn @ flip @ np.array(place) for label, place in moved.items()})
        twice = {label: turn @ -flip @ np.array(place) for label, place in moved.items()}
        assert not mirrored(twice)
    assert not mirrored({label: flip @ np.array(LANDMARKS[label]) for label in (11, 50)})


def _far() -> np.ndarray:
    far = np.zeros((4, 4))
    far[0, 3] = 400
    return far


def test_itk_transforms_there_and_back(tmp_path: Path) -> None:
    matrix = rotation_about(np.array([1.0, 2, 3]), (10.0, -20.0, 5.0))
    matrix[:3, 3] += (4, 5, 6)
    save_itk(tmp_path / "xfm.txt", matrix)
    np.testing.assert_allclose(load_itk(tmp_path / "xfm.txt"), matrix, atol=1e-9)
    ras = np.array([10.0, -20, 30])
    lps = sitk.ReadTransform(str(tmp_path / "xfm.txt")).TransformPoint((ras * [-1, -1, 1]).tolist())
    np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], matrix[:3, :3] @ ras + matrix[:3, 3])
    transform = RigidTransform(matrix, 0.5)
    np.testing.assert_allclose(transform.inverse().matrix @ matrix, np.eye(4), atol=1e-12)


def test_not_a_transform(tmp_path: Path) -> None:
    (tmp_path / "xfm.txt").write_text("nothing of the kind")
    with pytest.raises(BadDataError, match="not a linear transform"):
        load_itk(tmp_path / "xfm.txt")


@pytest.mark.real
@pytest.mark.slow
def test_t1w_and_pdw_of_one_man(real_data: Path) -> None:
    """They lie 9 mm and a tilt apart; the way there and the way back must agree."""
    folder = real_data / "real-bids" / "sub-01" / "anat"
    t1w, pdw = load_volume(folder / "sub-01_T1w.nii.gz"), load_volume(folder / "sub-01_PDw.nii.gz")
    there, back = register_rigid(t1w, pdw), register_rigid(pdw, t1w)
    points = np.random.default_rng(0).uniform(-40, 40, (200, 3))
    around = np.linalg.norm(_apply(back.matrix @ there.matrix, points) - points, axis=1)
    assert around.mean() < 0.5
    moved = np.linalg.norm(_apply(there.matrix, points) - points, axis=1)
    assert 5 < moved.mean() < 15


@pytest.mark.real
@pytest.mark.slow
def test_labels_of_a_real_subject_are_where_mni_space_has_them(real_data: Path) -> None:
    labels, affine = load_labels(real_data / "freesurfer" / "sub-fs1" / "mri" / "aparc.a2009s+aseg.mgz")
    brain = load_volume(real_data / "freesurfer" / "sub-fs1" / "mri" / "norm.mgz")
    image, mask = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    template = Volume(image.get_fdata(dtype=np.float32), image.affine, Path("template"))
    found = register_to_template(template, mask.get_fdata() > 0, brain, labels)
    check = check_registration(
        found,
        template_mask=mask.get_fdata() > 0,
        template_affine=template.affine,
        labels=labels,
        affine=affine,
    )
    assert check.passed, check.reason


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def test_the_result_does_not_depend_on_cores_and_threads() -> None:
    program = (
        "import numpy as np\n"
        "from nilearn.datasets import load_mni152_template\n"
        "from epvs_bids.anatomy.elastix import run_elastix\n"
        "from epvs_bids.anatomy.initialisation import Thin, rotation_about\n"
        "image = load_mni152_template(resolution=3)\n"
        "data, affine = image.get_fdata(dtype=np.float32), image.affine\n"
        "moved = rotation_about(np.zeros(3), (3.0, 2.0, -4.0)) @ affine\n"
        "found = run_elastix(Thin(data, data > 0, affine), Thin(data, data > 0, moved), seed=1)\n"
        "print(found.tolist())\n"
    )
    answers = set()
    for threads in ("1", "2", "4"):
        variables = {**os.environ, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads}
        command = [sys.executable, "-c", program]
        answers.add(subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout)
    assert len(answers) == 1
