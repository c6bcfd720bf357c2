"""Enlarged perivascular spaces of the basal ganglia, and what must not be taken for one.

Numbers and where they come from
--------------------------------
- Calibre: perivascular spaces are mostly below 3 mm, lacunes 3 to 15 mm (Wardlaw et al. 2013, Lancet Neurol
  12:822, STRIVE); raters count those of 1 to 3 mm in the slice of the anterior commissure (Adams et al. 2013,
  Stroke 44:1732). Ours: log-normal, median 1.2 mm, 0.5 to 3 mm.
- Course: along the lenticulostriate arteries, from the anterior perforated substance upwards, most in the
  lower third of the basal ganglia and in the putamen (Braffman et al. 1988, AJNR 9:621; Kwee & Kwee 2007,
  RadioGraphics 27:1071; Wardlaw et al. 2020, Nat Rev Neurol 16:137). Ours: about a fan that opens laterally.
- Length: 3 to 20 mm (ours, log-normal with a median of 6 mm; visible segments, not whole arteries).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from epvs_bids.simulation.anatomy import Anatomy
from epvs_bids.simulation.tissues import TISSUES
from epvs_bids.simulation.tubes import Tube, draw_tube

MAX_CALIBRE = 3.0
"""mm; above it, a fluid-filled cavity is a lacune (STRIVE)."""
_FOCUS = 4.0
"""mm; standard deviation of the places around a focus."""


@dataclass(frozen=True, kw_only=True)
class EpvsDistribution:
    """How EPVS vary.

    Parameters
    ----------
    calibre, calibre_spread
        Median in mm, standard deviation of the logarithm.
    min_calibre
        mm.
    length, length_spread
        Median in mm, standard deviation of the logarithm.
    cluster
        Probability that one lies 1.5 to 4 mm beside another, parallel to it.
    lower
        How much more often low in the basal ganglia: probability ∝ exp(−lower · height), height from 0 to 1.
    foci
        How much more often at most, in a person, around two places that left and right have in common (clear
        EPVS of the scans in docs/simulation.md lie so); each person draws a number up to it.
    shares
        Relative frequency a voxel of putamen, caudate, pallidum, accumbens, adjoining white matter.
    """

    calibre: float = 1.2
    calibre_spread: float = 0.3
    min_calibre: float = 0.5
    length: float = 6.0
    length_spread: float = 0.45
    cluster: float = 0.3
    lower: float = 2.5
    foci: float = 5.0
    shares: dict[str, float] = field(
        default_factory=lambda: {"putamen": 1.0, "caudate": 0.25, "pallidum": 0.5, "accumbens": 0.5}
    )

    def __hash__(self) -> int:
        return id(self)

    def varied(self, rng: np.random.Generator, spread: float) -> EpvsDistribution:
        """Draw another person's.

        Medians of calibre and length are multiplied by exp(a normal deviate × `spread`); where they vary, so
        does the fraction in clusters.
        """
        calibre, length = np.exp(rng.normal(0, spread, 2))
        cluster = self.cluster * rng.uniform(0, 2) if spread else self.cluster
        return replace(self, calibre=self.calibre * calibre, length=self.length * length, cluster=cluster)


@dataclass(frozen=True, kw_only=True)
class Mimics:
    """How many things that are no EPVS a region holds, as expected numbers (but `tract`).

    Parameters
    ----------
    lacunes
        Fluid-filled ovoid cavities of 3 to 15 mm.
    hyperintensities
        White-matter lesions: soft, irregular, between tissue and fluid.
    threads
        Perivascular spaces that are not enlarged, around the 26 branches that the lenticulostriate arteries
        of a side have on average (Pullicino 2001, Stroke Syndromes, chapter 31). 0.1 to 0.3 mm, most of it
        artery (collateral branches have 0.05 to 0.4 mm: Marinkovic et al. 1985, Stroke 16:1022): seen at high
        resolution only (Bouvy et al. 2014, Invest Radiol 49:307), a fine grain on other scans. Wider or
        fuller ones would pass for visible EPVS in `targets`.
    dark_vessels
        Flow voids in tissue: 2 to 12 lenticulostriate arteries a side, 0.08 to 1.4 mm
        (Marinkovic et al. 2001, Clin Anat 14:190), 0.47 mm on average (StatPearls, Striate Arteries).
    arteries
        Flow voids in the CSF of sulci, 0.7 to 2 mm (our choice): trunks and branches of the middle cerebral
        artery on the insula (Gibo et al. 1981, J Neurosurg 54:151), and smaller ones.
    bridges
        Grey strands across the internal capsule.
    dots
        Round iron or calcium deposits, dark; mostly in the pallidum.
    blobs
        Faint round patches, a few per cent brighter or darker.
    tract
        Mean fraction by which the corticospinal tract is brighter than the white matter around it (Yagishita
        et al. 1994, Radiology 191:455); 0: as bright.
    """

    lacunes: float = 0.6
    hyperintensities: float = 1.5
    threads: float = 50.0
    dark_vessels: float = 13.0
    arteries: float = 6.0
    bridges: float = 12.0
    dots: float = 3.0
    blobs: float = 12.0
    tract: float = 0.08


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One structure added to an anatomy.

    Parameters
    ----------
    kind
        ``epvs`` or a name of `Mimics` in the singular.
    tube
        Its shape; a short fat one is an ovoid.
    level
        ``epvs``, ``lacune``, ``thread``: fraction of the way from tissue to fluid. Others: intensity relative
        to tissue.
    soft
        Blur in mm of its border.
    """

    kind: str
    tube: Tube
    level: float
    soft: float = 0.0


def _position(
    rng: np.random.Generator, weights: NDArray[np.float64], candidates: NDArray[np.intp]
) -> NDArray[np.float64]:
    """One of the candidate voxels (N, 3), by weight, with a random offset within the voxel."""
    total = np.cumsum(weights)
    chosen = candidates[int(np.searchsorted(total, rng.uniform(0, total[-1])))]
    return np.asarray(chosen + rng.uniform(-0.5, 0.5, 3))


def _to_mm(anatomy: Anatomy, voxel: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = anatomy.box.affine
    return np.asarray(affine[:3, :3] @ voxel + affine[:3, 3])


def _inside(anatomy: Anatomy, tube: Tube, allowed: NDArray[np.bool_]) -> float:
    """Fraction of a tube's centre line on allowed tissues (boolean by tissue index)."""
    affine = anatomy.box.affine
    index = np.rint((tube.points - affine[:3, 3]) / affine[0, 0]).astype(int)
    if (index < 0).any() or (index >= anatomy.tissues.shape).any():
        return 0.0
    return float(allowed[anatomy.tissues[tuple(index.T)]].mean())


def _allowed(*names: str) -> NDArray[np.bool_]:
    return np.isin(np.arange(len(TISSUES)), [TISSUES.index(name) for name in names])


def lenticulostriate(
    rng: np.random.Generator, position: NDArray[np.float64], spread: float = 0.35
) -> NDArray[np.float64]:
    """Draw the direction of a lenticulostriate course: upwards, fanning out from the midline.

    The arteries come from below the middle of the putamen and run outwards and backwards before they rise.
    """
    low = np.clip((4 - position[2]) / 12, 0, 1)
    outwards = np.sign(position[0]) * (np.clip(abs(position[0]) - 18, -8, 14) / 40 + 0.4 * low)
    course = np.array([outwards, -0.12 - 0.3 * low, 1.0]) + rng.normal(0, spread, 3)
    return np.asarray(course / np.linalg.norm(course))


def draw_epvs(
    rng: np.random.Generator,
    anatomy: Anatomy,
    count: int,
    distribution: EpvsDistribution,
    *,
    visibility: tuple[float, float] = (0.6, 1.0),
) -> list[Lesion]:
    """Place EPVS in the basal ganglia.

    Parameters
    ----------
    rng
        Source of randomness.
    anatomy
        Where.
    count
        How many.
    distribution
        Of their properties.
    visibility
        Range of the fraction of fluid inside.

    Returns
    -------
    epvs
        `count` lesions of kind ``epvs``; no two centres closer than 1.2 mm.
    """
    weights, candidates = _epvs_prior(anatomy, distribution)
    weights *= _around_foci(rng, anatomy, weights, candidates, distribution.foci)
    allowed = _allowed("putamen", "caudate", "pallidum", "accumbens", "white", "claustrum", "brainstem")
    placed: list[Lesion] = []
    for attempt in range(60 * max(count, 1)):
        if len(placed) == count:
            break
        if placed and rng.random() < distribution.cluster:
            neighbour = placed[int(rng.integers(len(placed)))].tube
            offset = rng.normal(0, 1, 3) * (1, 1, 0.6)
            start = neighbour.centre + offset / np.linalg.norm(offset) * rng.uniform(1.5, 4.0)
        else:
            start = _to_mm(anatomy, _position(rng, weights, candidates))
        tube = _draw_epvs_tube(rng, start, distribution)
        crowded = any(np.linalg.norm(tube.centre - other.tube.centre) < 1.2 for other in placed)
        if crowded or (_inside(anatomy, tube, allowed) < 0.9 and attempt < 50 * count):
            continue
        placed.append(Lesion(kind="epvs", tube=tube, level=float(rng.uniform(*visibility))))
    return placed


def _draw_epvs_tube(
    rng: np.random.Generator, middle: NDArray[np.float64], distribution: EpvsDistribution
) -> Tube:
    """Draw a tube whose middle is at a point."""
    calibre = distribution.calibre * np.exp(rng.normal(0, distribution.calibre_spread))
    calibre = float(np.clip(calibre, distribution.min_calibre, MAX_CALIBRE))
    length = distribution.length * np.exp(rng.normal(0, distribution.length_spread))
    length = float(np.clip(length, max(2.5, 1.3 * calibre), 20))
    direction = lenticulostriate(rng, middle)
    start = middle - direction * (length - calibre) / 2
    return draw_tube(
        rng,
        start,
        direction,
        calibre=calibre,
        length=length,
        curvature=0.5,
        taper=float(rng.uniform(0, 0.6)),
    )


def _epvs_prior(
    anatomy: Anatomy, distribution: EpvsDistribution
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weight and voxel of every place where an EPVS may lie (each eighth voxel, for speed)."""
    step = 2
    tissues = anatomy.tissues[::step, ::step, ::step]
    share = np.zeros(len(TISSUES))
    for name, value in distribution.shares.items():
        share[TISSUES.index(name)] = value
    candidates = np.argwhere(share[tissues] > 0)
    heights = candidates[:, 2]
    low, high = np.percentile(heights, (1, 99))
    height = np.clip((heights - low) / max(high - low, 1), 0, 1)
    weights = share[tissues[tuple(candidates.T)]] * np.exp(-distribution.lower * height)
    return weights, candidates * step


def _around_foci(
    rng: np.random.Generator,
    anatomy: Anatomy,
    weights: NDArray[np.float64],
    candidates: NDArray[np.intp],
    most: float,
) -> NDArray[np.float64]:
    """Draw two places, mirrored to the other side: how much more often an EPVS lies at each candidate."""
    affine = anatomy.box.affine
    places = candidates * affine[0, 0] + affine[:3, 3]
    more = np.zeros(len(candidates))
    for _ in range(2):
        focus = _to_mm(anatomy, _position(rng, weights, candidates))
        for mirror in (1, -1):
            distances = ((places - focus * (mirror, 1, 1)) ** 2).sum(axis=1)
            more += np.exp(-distances / (2 * _FOCUS**2))
    return np.asarray(1 + rng.uniform(0, most) * more)
