from dataclasses import replace

import numpy as np
import pytest

from epvs_bids.simulation import head as heads
from epvs_bids.simulation.cohort import CohortSettings, draw_subject
from epvs_bids.simulation.contrast import Contrast
from epvs_bids.simulation.lesions import Lesion
from epvs_bids.simulation.tubes import Tube

COUNT = 60


@pytest.fixture(scope="module")
def subject() -> heads.Subject:
    return draw_subject(np.random.default_rng(3), CohortSettings(), age=75.0, count=COUNT)


def scan(
    subject: heads.Subject,
    contrast: Contrast,
    where: heads.ScanGeometry,
    *,
    seed: int = 0,
    noise: float = 0.0,
) -> np.ndarray:
    image, _ = heads.acquire(
        np.random.default_rng(seed),
        subject,
        contrast,
        where,
        look=np.random.default_rng(9),
        noise=noise,
        bias=0.0,
    )
    return image


@pytest.mark.parametrize("size", [(1.2, 1.2, 1.2), (1.6, 1.6, 1.6), (0.9, 0.9, 6.0)])
def test_every_epvs_has_its_label(subject: heads.Subject, size: tuple[float, float, float]) -> None:
    for seed in range(2):
        where = heads.geometry(np.random.default_rng(seed), size)
        labels = heads.epvs_labels(subject, where)
        np.testing.assert_array_equal(np.unique(labels), np.arange(COUNT + 1))
        # Each lies where its EPVS is, within its length and a voxel.
        for index, lesion in enumerate(subject.epvs):
            voxels = np.argwhere(labels == index + 1) @ where.affine[:3, :3].T + where.affine[:3, 3]
            line = heads.in_scanner(where, lesion.tube.points)
            distances = np.linalg.norm(voxels[:, None] - line[None], axis=2).min(axis=1)
            assert distances.max() < lesion.tube.calibre / 2 + 2 * np.linalg.norm(size)


def test_a_rescan_shows_the_same_tissue_with_other_noise(subject: heads.Subject) -> None:
    where = heads.geometry(np.random.default_rng(1), (2.0, 2.0, 2.0))
    first, second = (scan(subject, "T2w", where, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, scan(subject, "T2w", where, noise=0.03))


@pytest.mark.parametrize(("contrast", "sign"), [("T1w", -1), ("T2w", 1)])
@pytest.mark.parametrize("kind", ["hyperintensity", "bridge"])
def test_lesions_are_dark_on_t1w_alone(
    subject: heads.Subject, kind: str, contrast: Contrast, sign: int
) -> None:
    where = heads.geometry(np.random.default_rng(1), (2.0, 2.0, 2.0))
    middle = np.add(subject.region.commissure, (20, -10, 12))
    tube = Tube(points=middle + np.zeros((3, 3)), radii=np.full(3, 4.0))
    lesion = Lesion(kind=kind, tube=tube, level=1.5)
    without, with_one = (
        scan(replace(subject, lesions=lesions), contrast, where) for lesions in ((), (lesion,))
    )
    change = sign * (with_one - without)
    assert change.max() > 0.1
    assert change.min() > -0.01
