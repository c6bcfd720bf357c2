"""What must not be counted: lacunes, hyperintensities, vessels and their spaces, bridges, iron, patches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from epvs_bids.simulation.anatomy import Anatomy
from epvs_bids.simulation.lesions import Lesion, Mimics, lenticulostriate
from epvs_bids.simulation.tissues import TISSUES
from epvs_bids.simulation.tubes import Tube, draw_tube

Point = NDArray[np.float64]


def draw_mimics(rng: np.random.Generator, anatomy: Anatomy, mimics: Mimics) -> list[Lesion]:
    """Draw everything in a region that a counter must leave out.

    Parameters
    ----------
    rng
        Source of randomness.
    anatomy
        Where.
    mimics
        Expected numbers; each number is drawn from a Poisson distribution around them, that of threads from
        one whose mean differs between people.
    """
    makers: list[tuple[float, tuple[str, ...], Callable[[np.random.Generator, Point], Lesion]]] = [
        (mimics.lacunes, ("putamen", "caudate", "pallidum", "thalamus", "white"), _lacune),
        (mimics.hyperintensities, ("white", "white", "thalamus"), _hyperintensity),
        (mimics.threads * rng.uniform(0, 2), ("putamen", "putamen", "caudate", "pallidum", "white"), _thread),
        (mimics.dark_vessels, ("putamen", "pallidum", "white", "cortex"), _dark_vessel),
        (mimics.arteries, ("csf",), _artery),
        (mimics.bridges, ("white",), _bridge),
        (mimics.dots, ("pallidum", "pallidum", "putamen"), _dot),
        (mimics.blobs, ("putamen", "caudate", "pallidum", "white"), _blob),
    ]
    drawn = [
        maker(rng, _somewhere(rng, anatomy, hosts))
        for expected, hosts, maker in makers
        for _ in range(rng.poisson(expected))
    ]
    return drawn + (_corticospinal(rng, mimics.tract) if mimics.tract else [])


def _somewhere(rng: np.random.Generator, anatomy: Anatomy, hosts: tuple[str, ...]) -> Point:
    """Draw a point in mm, uniform in one of the host tissues (anywhere where there is next to none)."""
    host = TISSUES.index(hosts[int(rng.integers(len(hosts)))])
    voxels = rng.integers(0, anatomy.tissues.shape, (2000, 3))
    voxel = voxels[(anatomy.tissues[tuple(voxels.T)] == host).argmax()]
    return np.asarray(anatomy.box.affine[:3, :3] @ voxel + anatomy.box.affine[:3, 3])


def _any_direction(rng: np.random.Generator) -> Point:
    direction = rng.normal(0, 1, 3)
    return np.asarray(direction / np.linalg.norm(direction))


def _ovoid(rng: np.random.Generator, centre: Point, size: float, elongation: float) -> Tube:
    return draw_tube(
        rng, centre, _any_direction(rng), calibre=size, length=size * elongation, curvature=0.6, taper=0.3
    )


def _lacune(rng: np.random.Generator, centre: Point) -> Lesion:
    size = float(np.clip(4.2 * np.exp(rng.normal(0, 0.4)), 3, 15))
    tube = _ovoid(rng, centre, size, float(rng.uniform(1.0, 1.5)))
    return Lesion(kind="lacune", tube=tube, level=float(rng.uniform(0.6, 1.0)), soft=0.3)


def _hyperintensity(rng: np.random.Generator, centre: Point) -> Lesion:
    size = float(np.clip(4.5 * np.exp(rng.normal(0, 0.45)), 2.5, 15))
    tube = _ovoid(rng, centre, size, float(rng.uniform(1.0, 2.5)))
    return Lesion(kind="hyperintensity", tube=tube, level=float(rng.uniform(1.15, 1.7)), soft=1.0)


def _dark_vessel(rng: np.random.Generator, centre: Point) -> Lesion:
    direction = lenticulostriate(rng, centre) if rng.random() < 0.6 else _any_direction(rng)
    calibre = float(np.clip(0.47 * np.exp(rng.normal(0, 0.5)), 0.1, 1.4))
    return _flow_void(rng, centre, direction, calibre=calibre, length=float(rng.uniform(4, 25)))


def _artery(rng: np.random.Generator, centre: Point) -> Lesion:
    along_insula = rng.normal(0, (0.2, 0.7, 0.7))
    along_insula /= np.linalg.norm(along_insula)
    return _flow_void(
        rng, centre, along_insula, calibre=float(rng.uniform(0.7, 2)), length=float(rng.uniform(4, 12))
    )


def _flow_void(
    rng: np.random.Generator, centre: Point, direction: Point, *, calibre: float, length: float
) -> Lesion:
    tube = draw_tube(rng, centre, direction, calibre=calibre, length=length, curvature=0.5, taper=0.3)
    return Lesion(kind="dark_vessel", tube=tube, level=float(rng.uniform(0.2, 0.85)))


def _thread(rng: np.random.Generator, centre: Point) -> Lesion:
    tube = draw_tube(
        rng,
        centre,
        lenticulostriate(rng, centre),
        calibre=float(rng.uniform(0.1, 0.3)),
        length=float(rng.uniform(3, 12)),
        curvature=0.8,
        taper=0.5,
    )
    return Lesion(kind="thread", tube=tube, level=float(rng.uniform(0.2, 0.6)))


def _bridge(rng: np.random.Generator, centre: Point) -> Lesion:
    direction = np.array([np.sign(centre[0]), rng.normal(-0.3, 0.3), rng.normal(0, 0.3)])
    direction /= np.linalg.norm(direction)
    calibre, length = float(rng.uniform(0.6, 1.4)), float(rng.uniform(3, 9))
    tube = draw_tube(
        rng,
        centre - direction * length / 2,
        direction,
        calibre=calibre,
        length=length,
        curvature=0.3,
        taper=0.2,
    )
    return Lesion(kind="bridge", tube=tube, level=float(rng.uniform(1.02, 1.22)), soft=0.3)


def _dot(rng: np.random.Generator, centre: Point) -> Lesion:
    tube = _ovoid(rng, centre, float(rng.uniform(1.0, 4.0)), float(rng.uniform(1.0, 2.0)))
    return Lesion(kind="dot", tube=tube, level=float(rng.uniform(0.4, 0.9)), soft=0.5)


def _blob(rng: np.random.Generator, centre: Point) -> Lesion:
    tube = _ovoid(rng, centre, float(rng.uniform(1.0, 5.0)), float(rng.uniform(1.0, 2.5)))
    return Lesion(kind="blob", tube=tube, level=float(rng.uniform(0.88, 1.14)), soft=0.8)


def _corticospinal(rng: np.random.Generator, brighter: float) -> list[Lesion]:
    """Draw the tract of both sides in the posterior limb of the internal capsule."""
    level = 1 + brighter * float(rng.uniform(0, 2))
    return [
        Lesion(
            kind="tract",
            tube=draw_tube(
                rng,
                np.array([side * 20, -13, -12]) + rng.normal(0, 1.5, 3),
                np.array([side * 0.15, -0.1, 0.98]),
                calibre=float(rng.uniform(4, 7)),
                length=40,
                curvature=0.1,
                taper=0.2,
            ),
            level=level,
            soft=1.5,
        )
        for side in (-1, 1)
    ]
