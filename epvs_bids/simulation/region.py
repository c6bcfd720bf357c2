"""The quick path: one basal ganglia region, as the network sees it, with everything known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids.simulation import operators
from epvs_bids.simulation.acquisition import Protocol, Texture, add_lesions, paint, scan
from epvs_bids.simulation.anatomy import Anatomy, Box, draw_anatomy, draw_person
from epvs_bids.simulation.contrast import Contrast, draw_intensities, draw_relaxation, iron_gradient
from epvs_bids.simulation.lesions import EpvsDistribution, Lesion, Mimics, draw_epvs
from epvs_bids.simulation.mimics import draw_mimics
from epvs_bids.simulation.segmentation import smooth_mask
from epvs_bids.simulation.tissues import TISSUES

Array = NDArray[np.float32]
Triple = tuple[float, float, float]

REGION = Box(shape=(168, 128, 84), voxel_size=0.5)
"""The paper's region: 168 × 128 × 84 voxels of 0.5 mm."""


@dataclass(frozen=True, kw_only=True)
class RegionSettings:
    """What regions vary in.

    Each pair is a range; noise, texture and transition are uniform in their logarithm, the rest is uniform.

    Parameters
    ----------
    contrasts
        BIDS suffixes to choose from.
    counts
        Mean and dispersion (variance = mean + mean² / dispersion) of the number of EPVS.
    max_count
        No region has more.
    epvs
        Their calibre, length and place.
    epvs_variation
        Logarithmic standard deviation, between regions, of the median calibre and of the median length.
    mimics
        What must not be counted.
    voxel_sizes
        (x, y, z, thick axis or −1) to choose from; each size varies by ± 15 %.
    noise
        1 / SNR in white matter.
    blur
        Point spread relative to the voxel.
    smoothing, sharpening
        Of a third of the scans each, `Protocol` tells what; the last third is left as the scanner saw it.
    zero_filled, zero_filling
        Fraction of scans whose scanner interpolated, and by how much along an axis within the slice.
    regridded, grid
        Fraction of scans that were resampled to isotropic voxels, and these voxels' edge in mm.
    ringing
        Fraction of scans with truncated k-space.
    bias
        Logarithmic standard deviation of the receive field.
    visibility
        Fraction of fluid inside EPVS.
    epvs_contrast
        Least intensity of the fluid relative to the putamen (the paper's PD shows EPVS bright).
    texture, grain, patchy, lamina, transition
        Scale of `Texture`, the size of its grains in mm, how uneven the pallidum is, how much of white matter
        its laminae have, and how gradually one tissue becomes the next.
    iron
        Fraction by which iron shortens T2 of the pallidum, more with age.
    putamen_iron
        How much of that iron the putamen has (the pallidum's in the elderly only: Milton et al. 1991,
        Radiology 181:715); `Texture.gradient` tells where.
    jitter
        Logarithmic standard deviation of tissue intensities beyond the signal equations.
    mask_error, ragged
        Standard deviation in mm of the segmentation's outline, and how far noise misleads it (`segment`).
    pose
        Standard deviation in radians of the rotation left after registration.
    extracted
        Fraction of scans whose fluid around the brain is partly cut away, as brain extraction does.
    """

    contrasts: tuple[Contrast, ...] = ("PDw", "T2w")
    counts: tuple[float, float] = (10.0, 0.8)
    max_count: int = 45
    epvs: EpvsDistribution = field(default_factory=EpvsDistribution)
    epvs_variation: float = 0.2
    mimics: Mimics = field(default_factory=Mimics)
    voxel_sizes: tuple[tuple[float, float, float, int], ...] = (
        (0.49, 0.49, 0.8, -1),
        (1.0, 1.0, 1.0, -1),
        (1.0, 1.0, 1.0, -1),
        (0.7, 0.7, 0.7, -1),
        (0.7, 0.7, 3.0, 2),
        (0.6, 0.6, 3.3, 2),
        (0.85, 0.85, 2.4, 2),
        (0.5, 0.5, 2.0, 2),
    )
    noise: tuple[float, float] = (0.006, 0.12)
    blur: tuple[float, float] = (0.85, 1.6)
    smoothing: tuple[float, float] = (0.0, 0.7)
    sharpening: tuple[float, float] = (0.0, 0.8)
    zero_filled: float = 0.5
    zero_filling: tuple[float, float] = (1.0, 1.7)
    regridded: float = 0.25
    grid: tuple[float, float] = (0.7, 1.2)
    ringing: float = 0.4
    bias: tuple[float, float] = (0.0, 0.12)
    visibility: tuple[float, float] = (0.6, 1.0)
    epvs_contrast: tuple[float, float] = (1.3, 2.5)
    texture: tuple[float, float] = (0.2, 4.0)
    grain: tuple[float, float] = (1.0, 2.5)
    patchy: tuple[float, float] = (0.03, 0.14)
    lamina: tuple[float, float] = (0.0, 0.8)
    transition: tuple[float, float] = (0.4, 1.4)
    iron: tuple[float, float] = (0.0, 0.38)
    putamen_iron: tuple[float, float] = (0.3, 1.0)
    jitter: tuple[float, float] = (0.0, 0.08)
    mask_error: tuple[float, float] = (0.1, 0.7)
    ragged: tuple[float, float] = (0.05, 0.4)
    pose: float = 0.07
    extracted: float = 0.25


TRAINING = RegionSettings()
"""What the default model is trained on."""

HELD_OUT = RegionSettings(
    counts=(7.0, 1.0),
    epvs=EpvsDistribution(
        calibre=1.4, calibre_spread=0.25, length=7.0, length_spread=0.35, cluster=0.15, foci=0.0
    ),
    epvs_variation=0.0,
    mimics=Mimics(lacunes=1.2, hyperintensities=3.0),
    voxel_sizes=((0.55, 0.55, 1.0, -1), (0.9, 0.9, 0.9, -1), (0.5, 0.5, 2.5, 2), (0.75, 0.75, 2.8, 2)),
    noise=(0.015, 0.08),
    blur=(0.9, 1.5),
    smoothing=(0.0, 0.0),
    sharpening=(0.0, 0.0),
    zero_filling=(1.0, 1.3),
    regridded=0.0,
    visibility=(0.65, 1.0),
    epvs_contrast=(1.4, 2.2),
    texture=(0.3, 2.5),
    grain=(1.5, 1.5),
    patchy=(0.04, 0.1),
    transition=(0.5, 1.0),
    iron=(0.0, 0.25),
)
"""Other calibres and resolution, more lacunes, no foci; looks without training's extremes."""


@dataclass(frozen=True, kw_only=True)
class SimulatedRegion:
    """One region and its truth.

    Parameters
    ----------
    image
        float32 (168, 128, 84): the scan on the 0.5 mm grid, intensities as acquired (white matter about 1).
    mask
        float32 in [0, 1]: the smooth mask, from a segmentation with small errors.
    labels
        uint8: 1 + index of the EPVS in each voxel.
    epvs
        One row an EPVS: ``x y z`` (RAS mm), ``calibre``, ``length`` (mm), ``visibility``, ``in_slice``.
    slice_count
        EPVS that the slice of the anterior commissure shows.
    contrast
        BIDS suffix.
    fluid_contrast
        Contrast of the fluid in EPVS to the putamen, relative to the putamen.
    protocol
        Voxels and noise.
    anatomy
        Tissues and the box.
    lesions
        Everything added to the anatomy.
    """

    image: Array
    mask: Array
    labels: NDArray[np.uint8]
    epvs: pd.DataFrame
    slice_count: int
    contrast: Contrast
    fluid_contrast: float
    protocol: Protocol
    anatomy: Anatomy
    lesions: tuple[Lesion, ...]

    @property
    def total_count(self) -> int:
        """Number of EPVS."""
        return len(self.epvs)

    @property
    def region(self) -> Array:
        """Image × mask, divided by its maximum: what the network sees (section 2.1 of the paper)."""
        product = self.image * self.mask
        return np.asarray(product / product.max(), dtype=np.float32)


def simulate_region(
    seed: int,
    settings: RegionSettings = TRAINING,
    *,
    anatomy: Anatomy | None = None,
    count: int | None = None,
    extra: Sequence[Lesion] = (),
    scan_number: int = 0,
) -> SimulatedRegion:
    """Simulate one region.

    Parameters
    ----------
    seed
        The same seed and settings give the same region.
    settings
        What varies.
    anatomy
        Use this anatomy (on the grid `REGION`) instead of drawing one, which takes most of the time.
    count
        Number of EPVS; drawn from the settings by default.
    extra
        Further lesions to add.
    scan_number
        Another number scans the same person again: voxels, noise, bias field and segmentation are new.
    """
    rng, about_mimics, about_epvs, about_look, about_scan, about_borders = (
        np.random.default_rng((seed, part, scan_number if part == 4 else 0)) for part in range(6)
    )
    drawn = draw_count(rng, *settings.counts, most=settings.max_count)
    count = drawn if count is None else count
    if anatomy is None:
        anatomy = draw_anatomy(draw_person(rng, pose=settings.pose), REGION)
    mimics = draw_mimics(about_mimics, anatomy, settings.mimics)
    distribution = settings.epvs.varied(about_epvs, settings.epvs_variation)
    epvs = draw_epvs(about_epvs, anatomy, count, distribution, visibility=settings.visibility)
    lesions = (*mimics, *extra, *epvs)
    contrast, intensities, fluid, gradient = _draw_look(about_look, settings)
    amount = log_uniform(about_look, settings.texture)
    texture = Texture(
        fine=0.02 * amount,
        coarse=0.03 * amount,
        grain=about_look.uniform(*settings.grain),
        gradient=gradient,
        patchy=about_borders.uniform(*settings.patchy),
        lamina=about_borders.uniform(*settings.lamina),
        transition=log_uniform(about_borders, settings.transition),
    )
    image = paint(about_look, anatomy, intensities, texture)
    labels = add_lesions(image, lesions, anatomy.box, fluid=fluid)
    if about_look.random() < settings.extracted:
        cut_fluid(about_look, image, anatomy)
    protocol = draw_protocol(about_scan, settings)
    return SimulatedRegion(
        image=scan(about_scan, image, anatomy.box, protocol),
        mask=smooth_mask(
            about_scan,
            anatomy,
            protocol,
            error=about_scan.uniform(*settings.mask_error),
            ragged=about_scan.uniform(*settings.ragged),
        ),
        labels=labels,
        epvs=epvs_table(epvs, anatomy, half_slice=0.5),
        slice_count=sum(lesion.tube.crosses(anatomy.commissure[2], 0.5) for lesion in epvs),
        contrast=contrast,
        fluid_contrast=fluid / float(intensities[TISSUES.index("putamen")]) - 1,
        protocol=protocol,
        anatomy=anatomy,
        lesions=lesions,
    )


def _draw_look(rng: np.random.Generator, settings: RegionSettings) -> tuple[Contrast, Array, float, float]:
    """Draw a contrast, each tissue's intensity, that of the fluid in EPVS, and the putamen's gradient."""
    contrast = settings.contrasts[int(rng.integers(len(settings.contrasts)))]
    iron, putamen = rng.uniform(*settings.iron), rng.uniform(*settings.putamen_iron)
    relaxation = draw_relaxation(rng, variation=0.04, iron=iron, putamen=putamen)
    intensities, sequence = draw_intensities(rng, contrast, relaxation, jitter=rng.uniform(*settings.jitter))
    fluid = fluid_level(intensities, rng.uniform(*settings.epvs_contrast))
    return contrast, intensities, fluid, iron_gradient(sequence, relaxation, putamen * iron)


def log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a value whose logarithm is uniform between the logarithms of two limits."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def draw_count(rng: np.random.Generator, mean: float, dispersion: float, *, most: int) -> int:
    """Negative binomial number of EPVS, variance = mean + mean² / dispersion, at most `most`."""
    return min(int(rng.negative_binomial(dispersion, dispersion / (dispersion + mean))), most)


def cut_fluid(rng: np.random.Generator, image: Array, anatomy: Anatomy) -> None:
    """Set patches of the fluid around the brain to 0, in place, as brain extraction leaves it."""
    away = operators.smooth_field(rng, image.shape, 24.0) > rng.uniform(-1, 1)
    image[away & (anatomy.tissues == TISSUES.index("csf"))] = 0


def fluid_level(intensities: Array, least: float) -> float:
    """Intensity of the fluid in EPVS: that of CSF, but at least `least` times the putamen's."""
    return float(max(intensities[TISSUES.index("csf")], least * intensities[TISSUES.index("putamen")]))


def draw_protocol(rng: np.random.Generator, settings: RegionSettings) -> Protocol:
    """Draw voxels, point spread and noise."""
    x, y, z, thick = settings.voxel_sizes[int(rng.integers(len(settings.voxel_sizes)))]
    in_plane, through = rng.uniform(0.85, 1.15, 2)
    factors = [through if axis == thick else in_plane for axis in range(3)]
    offset = rng.uniform(-0.5, 0.5, 3)
    after = int(rng.integers(3))
    filling = rng.uniform(*settings.zero_filling, 3) * (rng.random() < settings.zero_filled)
    filling[thick if thick >= 0 else int(rng.integers(3))] = 1
    filling = np.maximum(filling, 1)
    return Protocol(
        voxel_size=(x * factors[0], y * factors[1], z * factors[2]),
        thick_axis=thick if thick >= 0 else None,
        in_plane="sinc" if rng.random() < settings.ringing else "gauss",
        blur=float(rng.uniform(*settings.blur)),
        noise=log_uniform(rng, settings.noise),
        smoothing=float(rng.uniform(*settings.smoothing)) if after == 1 else 0.0,
        sharpening=float(rng.uniform(*settings.sharpening)) if after == 2 else 0.0,
        bias=float(rng.uniform(*settings.bias)),
        offset=(float(offset[0]), float(offset[1]), float(offset[2])),
        zero_filling=(float(filling[0]), float(filling[1]), float(filling[2])),
        regrid=float(rng.uniform(*settings.grid)) if rng.random() < settings.regridded else 0.0,
    )


def epvs_table(epvs: list[Lesion], anatomy: Anatomy, *, half_slice: float) -> pd.DataFrame:
    """Centre (RAS mm), calibre, length, visibility, and whether the commissure's slice shows each EPVS."""
    height = anatomy.commissure[2]
    rows = [
        (
            *lesion.tube.centre,
            lesion.tube.calibre,
            lesion.tube.length,
            lesion.level,
            lesion.tube.crosses(height, half_slice),
        )
        for lesion in epvs
    ]
    return pd.DataFrame(rows, columns=["x", "y", "z", "calibre", "length", "visibility", "in_slice"])
