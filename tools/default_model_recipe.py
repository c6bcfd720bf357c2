"""What the default model is and is trained on: architecture, parts of the training, look of the regions."""

from dataclasses import dataclass, replace

import numpy as np

from epvs_bids.network.architecture import Architecture
from epvs_bids.simulation.region import TRAINING, RegionSettings, log_uniform

ARCHITECTURE = Architecture(
    channels=((8,), (24, 24, 48, 48)),
    dilations=((1,), (1, 1, 2, 4)),
    head="sum",
    normalisation="batch",
    scaling="robust",
    maps=3,
    floor=0.02,
)
ROUND = 250
"""Steps between checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Regions:
    """How regions of a later part vary: EPVS wider and longer, or not, more or less clustered; some faint.

    In the first part what is wide or long is most often two that touch, and is counted so; and where few EPVS
    are faint, the clear ones are counted for them.

    Parameters
    ----------
    calibre, length
        Ranges in mm of a region's medians.
    cluster
        Highest share of the EPVS that lie beside another.
    faint
        Share of the regions with `FAINT` fluid.
    """

    calibre: tuple[float, float]
    length: tuple[float, float]
    cluster: float
    faint: float

    def draw(self, rng: np.random.Generator) -> RegionSettings:
        """Draw the settings of one region."""
        calibre, length = log_uniform(rng, self.calibre), log_uniform(rng, self.length)
        epvs = replace(TRAINING.epvs, calibre=calibre, length=length, cluster=rng.uniform(0, self.cluster))
        contrast = FAINT if rng.random() < self.faint else TRAINING.epvs_contrast
        return replace(TRAINING, epvs=epvs, epvs_variation=0.0, epvs_contrast=contrast)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the training.

    Parameters
    ----------
    steps
        A multiple of `ROUND`.
    rate
        Highest learning rate.
    first_round
        Seed of its first round: parts with the same number learn from the same people.
    regions
        How regions vary; None: as `TRAINING` does.
    count_weight
        What an error of one EPVS in the count of a patch adds to the loss.
    kept
        Whether the weights at its end go into the mean.
    """

    steps: int
    rate: float
    first_round: int
    regions: Regions | None = None
    count_weight: float = 0.2
    kept: bool = False


FAINT = (1.12, 1.6)
"""Range of the least intensity of fluid in EPVS, relative to the putamen; it concerns PDw of short TR."""
WIDER = Regions(calibre=(1.05, 1.6), length=(5.0, 8.5), cluster=0.4, faint=0.7)
CROWDED = Regions(calibre=(1.05, 1.7), length=(4.5, 8.5), cluster=0.6, faint=0.7)
CLEARER = replace(CROWDED, faint=0.3)
LATE = Part(
    steps=750,
    rate=5e-4,
    first_round=30,
    regions=replace(CLEARER, cluster=0.4),
    count_weight=0.3,
    kept=True,
)
PARTS = (
    Part(steps=3750, rate=3e-3, first_round=0),
    Part(steps=500, rate=7e-4, first_round=15, regions=WIDER),
    Part(steps=750, rate=5e-4, first_round=15, regions=CROWDED),
    Part(steps=250, rate=4e-4, first_round=15, regions=replace(CROWDED, faint=0.5), count_weight=0.4),
    Part(steps=500, rate=3e-4, first_round=15, regions=replace(CLEARER, cluster=0.5), count_weight=0.3),
    LATE,
    replace(LATE, steps=1250, rate=8e-4, first_round=40, regions=replace(CLEARER, cluster=0.3)),
)
