from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from epvs_bids.anatomy.images import Volume
from epvs_bids.errors import BadDataError
from epvs_bids.simulation.anatomy import REGION_CENTRE, Anatomy
from epvs_bids.simulation.plant import plant
from epvs_bids.simulation.tissues import freesurfer_labels

Planting = tuple[Volume, NDArray[np.int32]]
MOVE = np.array([4.0, -20.0, 11.0])


@pytest.fixture(scope="module")
def scan(anatomy: Anatomy) -> Planting:
    """A flat scan of 1 × 1 × 2 mm, stored from front to back, and its labels."""
    fine = freesurfer_labels(anatomy.tissues, anatomy.left)
    labels = fine[::2, ::-2, ::4].astype(np.int32)
    affine = np.diag([1.0, -1.0, 2.0, 1.0])
    affine[:3, 3] = anatomy.box.affine[:3, 3] + (0, 63.5, 0) + MOVE
    data = np.where(np.isin(labels, (4, 43, 24)), 250, 100).astype(np.float32)
    return Volume(data=data, affine=affine, path=Path("scan.nii.gz")), labels


def test_planted_spaces_are_where_the_table_says(scan: Planting) -> None:
    volume, labels = scan
    planted, truth = plant(volume, labels, 8, seed=1)
    assert len(truth) == 8
    changed = planted.data != volume.data
    assert 20 < changed.sum() < 2000
    assert planted.data.max() <= 250
    index = np.argwhere(changed)
    mm = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    for centre in truth[["x", "y", "z"]].to_numpy():
        assert np.linalg.norm(mm - centre, axis=1).min() < 2
    assert np.linalg.norm(truth[["x", "y", "z"]].mean() - MOVE - REGION_CENTRE) < 25


def test_added_fluid_matches_the_volume_of_the_tubes(scan: Planting) -> None:
    volume, labels = scan
    planted, truth = plant(volume, labels, 4, seed=2, visibility=(1.0, 1.0))
    added = (planted.data - volume.data).sum() / 150 * 2
    widest = (np.pi / 4 * truth["calibre"] ** 2 * truth["length"]).sum()
    assert 0.3 * widest < added < 1.05 * widest


def test_more_planted_include_the_fewer_and_none_changes_nothing(scan: Planting) -> None:
    volume, labels = scan
    _, few = plant(volume, labels, 2, seed=3)
    _, many = plant(volume, labels, 5, seed=3)
    np.testing.assert_allclose(few, many[:2])
    same, _ = plant(volume, labels, 0, seed=3)
    np.testing.assert_array_equal(same.data, volume.data)


def test_no_basal_ganglia_is_refused(scan: Planting) -> None:
    volume, labels = scan
    with pytest.raises(BadDataError, match="no basal ganglia"):
        plant(volume, np.zeros_like(labels), 2, seed=0)
    with pytest.raises(BadDataError, match="differ in shape"):
        plant(volume, labels[:-1], 2, seed=0)
