"""What each tissue looks like: signal equations of the sequences, and their random variation.

Relaxation times are those of healthy adults at 1.5 to 3 T (Wansapura et al. 1999, J Magn Reson Imaging 9:531;
Stanisz et al. 2005, Magn Reson Med 54:507; Gelman et al. 1999, Radiology 210:759, for the iron-rich nuclei),
rounded, because every simulated person draws their own around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from epvs_bids.simulation.tissues import TISSUES

Array = NDArray[np.float32]
Contrast = Literal["T1w", "T2w", "PDw"]

RELAXATION: dict[str, tuple[float, float, float]] = {
    "outside": (300.0, 40.0, 0.0),
    "white": (830.0, 74.0, 0.70),
    "cortex": (1330.0, 99.0, 0.83),
    "csf": (4000.0, 1200.0, 1.00),
    "ventricle": (4000.0, 1500.0, 1.00),
    "caudate": (1270.0, 95.0, 0.82),
    "putamen": (1180.0, 88.0, 0.81),
    "pallidum": (960.0, 70.0, 0.75),
    "accumbens": (1300.0, 95.0, 0.82),
    "thalamus": (1080.0, 84.0, 0.78),
    "hippocampus": (1400.0, 100.0, 0.84),
    "brainstem": (980.0, 80.0, 0.74),
    "choroid": (1900.0, 180.0, 0.90),
    "claustrum": (1250.0, 88.0, 0.80),
    "soft": (700.0, 45.0, 0.65),
    "skull": (350.0, 25.0, 0.12),
    "eye": (3200.0, 600.0, 0.95),
}
"""T1 (ms), T2 (ms) and proton density (CSF = 1) of each tissue."""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence's timing.

    Parameters
    ----------
    contrast
        BIDS suffix.
    repetition, echo
        TR and TE in ms.
    inversion
        TI in ms of an inversion-recovery T1w; 0 for a spin echo.
    """

    contrast: Contrast
    repetition: float
    echo: float
    inversion: float = 0.0


def draw_sequence(rng: np.random.Generator, contrast: Contrast) -> Sequence:
    """Draw a timing as clinics use it.

    PDw covers short (CSF darker than grey matter) to very long TR (CSF bright, as in the paper: TR 12.3 s).
    """
    if contrast == "T2w":
        return Sequence(contrast=contrast, repetition=rng.uniform(3000, 7000), echo=rng.uniform(75, 140))
    if contrast == "PDw":
        return Sequence(contrast=contrast, repetition=np.exp(rng.uniform(7.6, 9.45)), echo=rng.uniform(8, 35))
    return Sequence(contrast=contrast, repetition=2300, echo=3, inversion=rng.uniform(850, 1050))


def signal(sequence: Sequence, relaxation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitude of the signal of tissues.

    Spin echo: PD · (1 − exp(−TR/T1)) · exp(−TE/T2). Inversion recovery: PD · |1 − 2·exp(−TI/T1) +
    exp(−TR/T1)| · exp(−TE/T2).

    Parameters
    ----------
    sequence
        Timing.
    relaxation
        (tissues, 3): T1 and T2 in ms, proton density.

    Returns
    -------
    magnitude
        (tissues,), in units of the proton density of CSF.
    """
    t1, t2, density = relaxation.T
    recovery = 1 - np.exp(-sequence.repetition / t1)
    if sequence.inversion:
        recovery = np.abs(1 - 2 * np.exp(-sequence.inversion / t1) + np.exp(-sequence.repetition / t1))
    return np.asarray(density * recovery * np.exp(-sequence.echo / t2))


def draw_relaxation(
    rng: np.random.Generator, *, variation: float = 0.03, iron: float = 0.0, putamen: float = 0.5
) -> NDArray[np.float64]:
    """Relaxation times of one person.

    Parameters
    ----------
    rng
        Source of randomness.
    variation
        Standard deviation of the logarithm of each value.
    iron
        Additional iron of the pallidum, as the fraction by which T2 shortens; the caudate has 0.3 of it.
    putamen
        How much of it the putamen has.

    Returns
    -------
    relaxation
        (tissues, 3), in the order of `TISSUES`.
    """
    table = np.array([RELAXATION[name] for name in TISSUES])
    table = table * np.exp(rng.normal(0, variation, table.shape))
    for name, share in (("pallidum", 1.0), ("putamen", putamen), ("caudate", 0.3)):
        table[TISSUES.index(name), 1] *= 1 - iron * share
    return table


def iron_gradient(sequence: Sequence, relaxation: NDArray[np.float64], iron: float) -> float:
    """Logarithm of the signal that the putamen's posterolateral end lacks beside its middle.

    Its iron, the fraction by which T2 of the putamen is shortened, is twice as much there; the signal never
    falls by more than a third.
    """
    return min(sequence.echo / float(relaxation[TISSUES.index("putamen"), 1]) * iron, 0.4)


def draw_intensities(
    rng: np.random.Generator, contrast: Contrast, relaxation: NDArray[np.float64], *, jitter: float = 0.04
) -> tuple[Array, Sequence]:
    """Intensity of each tissue in one scan, white matter at 1.

    Parameters
    ----------
    rng
        Source of randomness.
    contrast
        BIDS suffix.
    relaxation
        (tissues, 3), what `draw_relaxation` gave.
    jitter
        Standard deviation of the logarithm of what no signal equation explains (magnetisation transfer of
        multi-slice fast spin echo, B1, flow of CSF).

    Returns
    -------
    intensities
        float32 (tissues,).
    sequence
        The timing behind them.
    """
    sequence = draw_sequence(rng, contrast)
    values = signal(sequence, relaxation) * np.exp(rng.normal(0, jitter, len(TISSUES)))
    flow = rng.uniform(0.8, 1.0)
    values[TISSUES.index("csf")] *= flow
    values[TISSUES.index("ventricle")] *= flow * rng.uniform(0.9, 1.05)
    return (values / values[TISSUES.index("white")]).astype(np.float32), sequence
