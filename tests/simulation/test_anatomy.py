import numpy as np

from epvs_bids.anatomy.labels import BASAL_GANGLIA
from epvs_bids.simulation.anatomy import Anatomy, Box, Person, draw_anatomy
from epvs_bids.simulation.tissues import TISSUES, freesurfer_labels

SMALL = Box(shape=(84, 64, 42), voxel_size=1.0)


def volume(anatomy: Anatomy, *names: str) -> float:
    return np.isin(anatomy.tissues, [TISSUES.index(name) for name in names]).sum() * anatomy.box.voxel_size**3


def test_volumes_are_those_of_adults(anatomy: Anatomy) -> None:
    # Two caudates of some 3.5 ml and two putamina of some 5 ml, within a factor for the random size.
    assert 4_000 < volume(anatomy, "caudate") < 11_000
    assert 6_500 < volume(anatomy, "putamen") < 16_000
    assert 1_500 < volume(anatomy, "pallidum") < 6_500


def test_same_person_is_the_same_and_another_is_not() -> None:
    first, again, other = (draw_anatomy(Person(seed=seed), SMALL) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.tissues, again.tissues)
    differing = (first.tissues != other.tissues).mean()
    assert 0.03 < differing < 0.5


def test_atrophy_widens_the_ventricles() -> None:
    young, old = (draw_anatomy(Person(seed=1, ventricles=v), SMALL) for v in (-0.8, 0.8))
    assert volume(old, "ventricle") > 1.3 * volume(young, "ventricle")


def test_hemispheres_and_commissure(anatomy: Anatomy) -> None:
    labels = freesurfer_labels(anatomy.tissues, anatomy.left)
    x = anatomy.box.affine[0, 0] * np.arange(labels.shape[0]) + anatomy.box.affine[0, 3]
    assert x[np.argwhere(labels == 12)[:, 0]].mean() < -15
    assert x[np.argwhere(labels == 51)[:, 0]].mean() > 15
    assert np.isin(list(BASAL_GANGLIA), labels).all()
    np.testing.assert_allclose(anatomy.commissure, (0, 2.5, -4.5), atol=8)
