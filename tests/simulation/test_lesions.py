from dataclasses import fields

import numpy as np
import pytest

from epvs_bids.simulation.acquisition import add_lesions
from epvs_bids.simulation.anatomy import Anatomy
from epvs_bids.simulation.lesions import EpvsDistribution, Mimics, draw_epvs
from epvs_bids.simulation.mimics import draw_mimics
from epvs_bids.simulation.tissues import GANGLIA, TISSUES
from epvs_bids.simulation.tubes import Tube, draw_tube, volume_fraction

AFFINE = np.diag([0.5, 0.5, 0.5, 1.0])


def test_tube_has_its_length_and_calibre(rng: np.random.Generator) -> None:
    tube = draw_tube(rng, np.zeros(3), np.array([0, 0, 1.0]), calibre=1.5, length=8, curvature=0.2, taper=0)
    assert tube.calibre == pytest.approx(1.5)
    assert tube.length == pytest.approx(8, rel=0.05)


def test_volume_fraction_adds_up_to_the_volume() -> None:
    tube = Tube(points=np.array([[10.1, 9.9, z] for z in np.arange(5, 15.01, 0.4)]), radii=np.full(26, 1.2))
    _, fraction = volume_fraction(tube, AFFINE, (40, 40, 40))
    expected = np.pi * 1.2**2 * 10 + 4 / 3 * np.pi * 1.2**3
    assert fraction.sum() * 0.125 == pytest.approx(expected, rel=0.05)


def test_volume_fraction_outside_the_grid_is_empty() -> None:
    tube = Tube(points=np.full((3, 3), 500.0), radii=np.ones(3))
    _, fraction = volume_fraction(tube, AFFINE, (40, 40, 40))
    assert fraction.size == 0


def test_slice_crossing() -> None:
    tube = Tube(points=np.array([[0, 0, 0.0], [0, 0, 4.0]]), radii=np.array([0.5, 0.5]))
    assert tube.crosses(4.3, 0.0)
    assert not tube.crosses(4.7, 0.1)
    assert tube.crosses(5.0, 0.6)


def test_epvs_lie_low_in_the_basal_ganglia(anatomy: Anatomy) -> None:
    lesions = draw_epvs(np.random.default_rng(0), anatomy, 40, EpvsDistribution())
    assert len(lesions) == 40
    affine = anatomy.box.affine
    index = [tuple(np.rint((x.tube.centre - affine[:3, 3]) / 0.5).astype(int)) for x in lesions]
    inside = np.mean([TISSUES[anatomy.tissues[i]] in GANGLIA for i in index])
    assert inside > 0.7
    ganglia = np.argwhere(anatomy.ganglia)[:, 2]
    assert np.median([i[2] for i in index]) < np.median(ganglia)
    steep = [abs(np.diff(x.tube.points[[0, -1]], axis=0)[0][2]) / x.tube.length for x in lesions]
    assert np.median(steep) > 0.6


def test_calibres_keep_to_their_range(anatomy: Anatomy) -> None:
    some = [draw_epvs(np.random.default_rng(seed), anatomy, 40, EpvsDistribution()) for seed in range(4)]
    calibres = np.array([lesion.tube.calibre for lesions in some for lesion in lesions])
    assert calibres.min() >= 0.5
    assert calibres.max() <= 3.0
    assert np.median(calibres) == pytest.approx(1.2, rel=0.08)


def test_more_epvs_include_the_fewer(anatomy: Anatomy) -> None:
    few = draw_epvs(np.random.default_rng(5), anatomy, 4, EpvsDistribution())
    many = draw_epvs(np.random.default_rng(5), anatomy, 9, EpvsDistribution())
    np.testing.assert_array_equal([x.tube.centre for x in few], [x.tube.centre for x in many[:4]])


def test_mimics_come_in_the_numbers_asked_for(anatomy: Anatomy) -> None:
    nothing = {field.name: 0 for field in fields(Mimics)}
    lacunes = draw_mimics(np.random.default_rng(0), anatomy, Mimics(**nothing | {"lacunes": 30}))
    assert {lesion.kind for lesion in lacunes} == {"lacune"}
    assert 15 < len(lacunes) < 50
    assert min(2 * lesion.tube.radii.max() for lesion in lacunes) >= 3  # mm; STRIVE: 3 to 15 mm


def test_threads_are_thinner_than_any_epvs(anatomy: Anatomy) -> None:
    nothing = {field.name: 0 for field in fields(Mimics)}
    threads = draw_mimics(np.random.default_rng(1), anatomy, Mimics(**nothing | {"threads": 60}))
    assert {lesion.kind for lesion in threads} == {"thread"}
    assert 0 < len(threads) < 160
    assert max(lesion.tube.calibre for lesion in threads) <= 0.3 < EpvsDistribution().min_calibre


def test_the_corticospinal_tract_is_brighter_on_both_sides(anatomy: Anatomy) -> None:
    nothing = {field.name: 0 for field in fields(Mimics)}
    tracts = draw_mimics(np.random.default_rng(2), anatomy, Mimics(**nothing | {"tract": 0.1}))
    image = np.ones(anatomy.tissues.shape, np.float32)
    labels = add_lesions(image, tracts, anatomy.box, fluid=3.0)
    x = anatomy.box.affine[0, 0] * np.argwhere(image > 1.01)[:, 0] + anatomy.box.affine[0, 3]
    assert sorted(np.unique(np.sign(x))) == [-1, 1]
    assert 1 < image.max() <= 1.2
    assert not labels.any()


def test_foci_bring_epvs_together_on_both_sides(anatomy: Anatomy) -> None:
    def nearest_mirrored(foci: float) -> float:
        """Median distance, over people, of an EPVS from the mirror image of another's nearest centre."""
        distances = []
        for seed in range(6):
            distribution = EpvsDistribution(foci=foci, cluster=0)
            drawn = draw_epvs(np.random.default_rng(seed), anatomy, 20, distribution)
            centres = np.array([lesion.tube.centre for lesion in drawn])
            others = np.linalg.norm(centres[:, None] * (-1, 1, 1) - centres[None], axis=2)
            distances += list(others.min(axis=1))
        return float(np.median(distances))

    assert nearest_mirrored(40.0) < 0.85 * nearest_mirrored(0.0)


def test_arteries_begin_in_the_sulci(anatomy: Anatomy, rng: np.random.Generator) -> None:
    nothing = dict.fromkeys((field.name for field in fields(Mimics)), 0.0)
    arteries = draw_mimics(rng, anatomy, Mimics(**nothing | {"arteries": 40.0}))
    assert len(arteries) > 20
    for artery in arteries:
        voxel = np.linalg.inv(anatomy.box.affine) @ (*artery.tube.points[0], 1)
        assert TISSUES[anatomy.tissues[tuple(np.rint(voxel[:3]).astype(int))]] == "csf"
        assert 0.5 < artery.tube.calibre <= 2
