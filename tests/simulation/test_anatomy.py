from itertools import pairwise

import numpy as np
from scipy import ndimage

from epvs_bids.anatomy.labels import BASAL_GANGLIA
from epvs_bids.simulation.anatomy import Anatomy, Box, Person, draw_anatomy, draw_person
from epvs_bids.simulation.tissues import GANGLIA, TISSUES, freesurfer_labels

SMALL = Box(shape=(84, 64, 42), voxel_size=1.0)


def volume(anatomy: Anatomy, *names: str) -> float:
    return np.isin(anatomy.tissues, [TISSUES.index(name) for name in names]).sum() * anatomy.box.voxel_size**3


def test_volumes_are_those_of_adults() -> None:
    # Two caudates of some 3.5 ml and two putamina of some 5 ml; 16 to 24 ml together in real scans.
    people = [draw_anatomy(draw_person(np.random.default_rng(seed)), SMALL) for seed in range(10, 18)]
    assert 4_000 < np.mean([volume(person, "caudate") for person in people]) < 8_000
    assert 8_000 < np.mean([volume(person, "putamen") for person in people]) < 12_000
    assert 2_000 < np.mean([volume(person, "pallidum") for person in people]) < 4_500
    assert 16_000 < np.mean([volume(person, *GANGLIA) for person in people]) < 24_000


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


def test_hemispheres_are_alike() -> None:
    people = [draw_anatomy(Person(seed=seed), SMALL).ganglia for seed in range(6)]

    def overlap(one: np.ndarray, other: np.ndarray) -> float:
        return 2 * (one & other).sum() / (one.sum() + other.sum())

    own = [overlap(person, person[::-1]) for person in people]
    anothers = [overlap(person, other[::-1]) for person, other in pairwise(people)]
    assert np.mean(own) > np.mean(anothers) + 0.04
    assert max(own) < 0.97


def test_size_in_the_slice_of_the_commissure() -> None:
    # Six real scans: caudate and lentiform nuclei, dilated, 65 mm wide (SD 4) and 48 mm long (SD 1.4).
    extents = []
    for seed in range(8):
        person = draw_anatomy(draw_person(np.random.default_rng(seed), pose=0.0), SMALL)
        level = round((person.commissure[2] - person.box.affine[2, 3]) / person.box.voxel_size)
        plane = ndimage.binary_dilation(person.ganglia[:, :, level], iterations=2)
        extents.append([np.ptp(np.flatnonzero(plane.any(axis=1 - axis))) + 1 for axis in (0, 1)])
    width, length = np.mean(extents, axis=0)
    assert abs(width - 65) < 3
    assert abs(length - 48) < 3


def test_neither_side_is_the_larger_on_average() -> None:
    people = [draw_anatomy(draw_person(np.random.default_rng(seed), pose=0.0), SMALL) for seed in range(20)]
    left = [(person.ganglia & person.left).sum() / person.ganglia.sum() for person in people]
    assert abs(np.mean(left) - 0.5) < 3 * np.std(left) / np.sqrt(len(left))
    assert abs(np.mean(left) - 0.5) < 0.01


def test_deeper_frontal_horns_line_the_caudate_at_the_commissure() -> None:
    def fluid_beside_the_caudate(horns: float) -> int:
        person = draw_anatomy(Person(seed=1, horns=horns), SMALL)
        level = round((person.commissure[2] - SMALL.affine[2, 3]) / SMALL.voxel_size)
        near, fluid = (
            person.tissues[:, :, level] == TISSUES.index(name) for name in ("caudate", "ventricle")
        )
        return int((ndimage.binary_dilation(near, iterations=2) & fluid).sum())

    def thalamus(horns: float) -> float:
        return volume(draw_anatomy(Person(seed=1, horns=horns), SMALL), "thalamus")

    shallow, deep = fluid_beside_the_caudate(0.0), fluid_beside_the_caudate(4.0)
    assert deep > max(1.5 * shallow, 20)
    assert thalamus(4.0) > 0.97 * thalamus(0.0)
