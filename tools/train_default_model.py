"""Train the default model on simulated regions; one command that continues where it was stopped.

Run as ``.venv/bin/python tools/train_default_model.py``. It learns positions first: batches of patches from
endlessly simulated regions, three maps of 1 mm cells (EPVS density, EPVS volume, other fluid), binary
cross-entropy. The score is then the sum of the density map. Later parts go on at lower rates with what the
first leaves to be desired: calibres, lengths and clusters that vary more, and fainter fluid. What ships is
the mean of the weights at the ends of two parts (Izmailov et al. 2018, arXiv 1803.05407). A checkpoint is
written every `ROUND` steps, each round with a seed of its own: a run stopped and resumed ends the same.
"""

import argparse
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.network.architecture import Architecture, RegressionNetwork, build_network
from epvs_bids.network.checkpoint import DEFAULT_MODEL, ModelDescription, save_model
from epvs_bids.network.memory import reuse_large_blocks
from epvs_bids.network.scaling import robust_scale
from epvs_bids.simulation.anatomy import Anatomy, draw_anatomy, draw_person
from epvs_bids.simulation.region import (
    REGION,
    TRAINING,
    RegionSettings,
    SimulatedRegion,
    log_uniform,
    simulate_region,
)  # fmt: skip
from epvs_bids.simulation.targets import MASS, target_maps

logger = logging.getLogger("train")

ARCHITECTURE = Architecture(
    channels=((8,), (24, 24, 48, 48)),
    dilations=((1,), (1, 1, 2, 4)),
    head="sum",
    normalisation="batch",
    scaling="robust",
    maps=3,
)
CELLS = (28, 36, 28)
SCHEDULE = ((0, 2 / 3, 1), (0, 5 / 9, 1))
"""Share of the steps done, and how far the cosine of the rate has come: it falls faster at the end."""
BFLOAT16 = torch.cpu._is_avx512_bf16_supported()
"""Half the time of float32 where the processor computes with it, several times as much where it does not."""
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
    regions
        How regions vary; None: as `TRAINING` does.
    count_weight
        What an error of one EPVS in the count of a patch adds to the loss.
    kept
        Whether the weights at its end go into the mean.
    """

    steps: int
    rate: float
    regions: Regions | None = None
    count_weight: float = 0.2
    kept: bool = False


FAINT = (1.12, 1.6)
"""Range of the least intensity of fluid in EPVS, relative to the putamen; it concerns PDw of short TR."""
WIDER = Regions(calibre=(1.15, 1.7), length=(5.0, 8.5), cluster=0.4, faint=0.7)
CROWDED = Regions(calibre=(1.15, 1.8), length=(4.5, 8.5), cluster=0.6, faint=0.7)
PARTS = (
    Part(steps=3750, rate=3e-3),
    Part(steps=750, rate=7e-4, regions=WIDER),
    Part(steps=750, rate=5e-4, regions=CROWDED, kept=True),
    Part(steps=500, rate=4e-4, regions=replace(CROWDED, faint=0.5), count_weight=0.4),
    Part(steps=500, rate=3e-4, regions=replace(CROWDED, cluster=0.5, faint=0.3), count_weight=0.3, kept=True),
)
ORDINARY: dict[str, tuple[float, float]] = {
    "noise": (0.01, 0.06),
    "blur": (0.7, 1.4),
    "smoothing": (0.0, 0.0),
    "sharpening": (0.0, 0.0),
    "texture": (0.3, 2.0),
    "iron": (0.0, 0.3),
}
"""Looks without training's extremes: on such regions of the last part the level of the score is set."""
ORDINARY_REGIONS = 140
ORDINARY_SEED = 4_000_000_000
PATCH = tuple(2 * (size + ARCHITECTURE.margin) for size in CELLS)
CARD = (
    "Not validated against human raters. Trained on simulated scans only (epvs_bids/simulation): its "
    "score is the number of visible EPVS that a simulated scan of that look would hold. `group "
    "--analysis calibrate` brings it to a rater's scale; a model trained on ratings is better. Basal "
    "ganglia on PDw and T2w of adults; children, large infarcts and tumours were never seen. Recipe, "
    "numbers and misses: docs/default-model.md."
)


class Patches(IterableDataset):
    """Patches of endlessly simulated regions with their targets.

    Parameters
    ----------
    seed
        Seed and number of the round.
    part
        Of the training.
    pool
        Anatomies kept at a time; one in four regions gets a new one.
    """

    def __init__(self, seed: tuple[int, int], part: Part, pool: int = 20) -> None:
        self.seed, self.part, self.pool = seed, part, pool

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield (1, X, Y, Z) patches, (3, x, y, z) targets, and the (1, x, y, z) cells that count."""
        torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        anatomies: list[Anatomy] = []
        waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        while True:
            if len(anatomies) < 3 or rng.random() < 0.25:
                anatomies = [
                    *anatomies[1 - self.pool :],
                    draw_anatomy(draw_person(rng, pose=TRAINING.pose), REGION),
                ]
            anatomy = anatomies[int(rng.integers(len(anatomies)))]
            settings = self.part.regions.draw(rng) if self.part.regions else TRAINING
            region = simulate_region(int(rng.integers(2**62)), settings, anatomy=anatomy)
            scaled = robust_scale(torch.from_numpy(region.region)[None, None])[0]
            maps = torch.from_numpy(target_maps(region))
            mask = torch.from_numpy(region.mask[::2, ::2, ::2] > 0.02)[None]
            waiting += [cut(rng, scaled, maps, mask, side) for side in (0, 1, 0, 1)]
            while len(waiting) > 28:
                chosen = int(rng.integers(len(waiting)))
                yield waiting[chosen] if rng.random() < 0.5 else waiting.pop(chosen)


def cut(
    rng: np.random.Generator, scaled: torch.Tensor, maps: torch.Tensor, mask: torch.Tensor, side: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut one patch out of the left or right half, flipped or not, with the cells it predicts."""
    margin = ARCHITECTURE.margin
    padded = nn.functional.pad(scaled, (margin,) * 6)
    middle = maps.shape[1] // 2
    x = int(rng.integers(2, middle - CELLS[0] + 1)) + side * (middle - 2)
    y = int(rng.integers(2, maps.shape[2] - CELLS[1] - 1))
    z = int(rng.integers(0, maps.shape[3] - CELLS[2] + 1))
    first = (2 * x, 2 * y, 2 * z)
    patch = padded[:, *(slice(start, start + size) for start, size in zip(first, PATCH, strict=True))]
    box = [slice(start, start + size) for start, size in zip((x, y, z), CELLS, strict=True)]
    target, inside = maps[:, *box], mask[:, *box]
    flips = [axis for axis in (1, 2) if rng.random() < 0.5]
    return tuple(torch.flip(t, flips).contiguous() for t in (patch, target, inside))


def loss_of(
    logits: torch.Tensor, target: torch.Tensor, inside: torch.Tensor, *, count_weight: float
) -> torch.Tensor:
    """Cross-entropy of the three maps, less outside the mask, and the error of the patch's count."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weights = torch.tensor([1.0, 0.5, 0.1])[None, :, None, None, None]
    place = torch.where(inside, 1.0, 0.3)
    cells = (entropy * weights * place).sum() / place.sum()
    predicted = torch.sigmoid(logits[:, 0]).sum(dim=(1, 2, 3)) / MASS
    wanted = target[:, 0].sum(dim=(1, 2, 3)) / MASS
    return cells * 10 + count_weight * nn.functional.smooth_l1_loss(predicted, wanted)


@dataclass
class Training:
    """What changes while the network learns.

    Parameters
    ----------
    network, average
        The weights that are trained, and their moving average, which is what ships.
    optimiser
        AdamW.
    part
        The part of the training in progress.
    step
        Steps of it done.
    ends
        The averaged weights at the ends of the parts that are kept.
    """

    network: RegressionNetwork
    average: RegressionNetwork
    optimiser: torch.optim.Optimizer
    part: int = 0
    step: int = 0
    ends: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the checkpoint, atomically."""
        modules = {"network": self.network, "average": self.average, "optimiser": self.optimiser}
        state: dict[str, object] = {name: module.state_dict() for name, module in modules.items()}
        temporary = path.with_suffix(".tmp")
        torch.save(state | {"part": self.part, "step": self.step, "ends": self.ends}, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.part, self.step, self.ends = state["part"], state["step"], state["ends"]

    def begin_next(self) -> None:
        """Begin the next part with the averaged weights."""
        if PARTS[self.part].kept:
            self.ends.append({name: value.clone() for name, value in self.average.state_dict().items()})
        self.network.load_state_dict(self.average.state_dict())
        self.optimiser = make_optimiser(self.network)
        self.part, self.step = self.part + 1, 0


def start(seed: int) -> Training:
    """Make a network with random weights, and its optimiser."""
    torch.manual_seed(seed)
    network = build_network(ARCHITECTURE).to(memory_format=torch.channels_last_3d)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and layer.kernel_size[0] == 3:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    average = build_network(ARCHITECTURE)
    average.load_state_dict(network.state_dict())
    return Training(network, average, make_optimiser(network))


def make_optimiser(network: RegressionNetwork) -> torch.optim.Optimizer:
    """Make an optimiser; `take_step` sets its rate."""
    return torch.optim.AdamW(network.parameters(), weight_decay=1e-4)


def train(options: argparse.Namespace) -> RegressionNetwork:
    """Go through all parts, or what is left of them; return the mean of the weights that are kept."""
    training = start(options.seed)
    if options.checkpoint.exists():
        training.load(options.checkpoint)
    while training.part < len(PARTS):
        part = PARTS[training.part]
        while training.step < part.steps:
            learn(training, part, options.seed)
            training.save(options.checkpoint)
        training.begin_next()
    mean = {
        name: sum(end[name] for end in training.ends) / len(training.ends)
        if value.dtype.is_floating_point
        else value
        for name, value in training.average.state_dict().items()
    }
    training.average.load_state_dict(mean)
    return training.average.eval()


def learn(training: Training, part: Part, seed: int) -> None:
    """Take the steps of one round."""
    first = PARTS[0].steps if training.part else 0  # later parts begin with the same seeds
    data = Patches((seed, (first + training.step) // ROUND), part)
    batches = DataLoader(data, batch_size=4, num_workers=1, prefetch_factor=4)
    losses = []
    for batch, _ in zip(batches, range(ROUND), strict=False):
        losses.append(take_step(training, batch, part))
        if training.step % 50 == 0:
            done = f"part {training.part + 1}, step {training.step} of {part.steps}"
            logger.info("%s, loss %.4f", done, np.mean(losses[-50:]))


def take_step(training: Training, batch: list[torch.Tensor], part: Part) -> float:
    """Learn from one batch; the rate rises for 30 steps and then falls. Return the loss."""
    patch, target, inside = batch
    warm = min(1, (training.step + 1) / 30)
    falling = 0.5 + 0.5 * math.cos(math.pi * np.interp(training.step / part.steps, *SCHEDULE))
    for group in training.optimiser.param_groups:
        group["lr"] = part.rate * warm * falling + 1e-5
    with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
        logits = training.network.train().logits(patch.contiguous(memory_format=torch.channels_last_3d))
    loss = loss_of(logits.float(), target, inside, count_weight=part.count_weight)
    training.optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(training.network.parameters(), 2.0)
    training.optimiser.step()
    update_average(training.average, training.network, min(0.99, training.step / (training.step + 10)))
    training.step += 1
    return loss.item()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights and of the running statistics."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def ordinary_regions(number: int) -> Iterator[SimulatedRegion]:
    """Simulate regions as the last part has them, but of ordinary look."""
    regions = PARTS[-1].regions
    for seed in range(ORDINARY_SEED, ORDINARY_SEED + number):
        settings = regions.draw(np.random.default_rng(seed)) if regions else TRAINING
        yield simulate_region(seed, replace(settings, **ORDINARY))


@torch.no_grad()
def set_head(network: RegressionNetwork, number: int = ORDINARY_REGIONS) -> None:
    """Let the score be the sum of the density map, which was trained to be `MASS` for every visible EPVS.

    Its level is then set so that on ordinary regions the mean score is the mean count. A line fitted there
    would trade the EPVS that can't be seen for a steeper slope.
    """
    network.head.readout.weight.zero_()
    network.head.readout.weight[0, 0] = 1 / MASS
    network.head.readout.bias.zero_()
    scores, counts = [], []
    for one in ordinary_regions(number):
        scores.append(network(torch.from_numpy(one.region)[None, None]).item())
        counts.append(one.total_count)
    level = sum(counts) / sum(scores)
    logger.info("level %.3f on %d regions of %.2f EPVS", level, number, np.mean(counts))
    network.head.readout.weight[0, 0] *= level


def describe(seed: int) -> ModelDescription:
    """Describe the model; its metrics come later."""
    return ModelDescription(
        architecture=ARCHITECTURE,
        input_shape=(168, 128, 84),
        preprocessing=RoiParameters().to_dict(),
        training={"data": "simulated", "steps": [part.steps for part in PARTS], "seed": seed},
        card=CARD,
    )


def main() -> None:
    """Train, set the head, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--checkpoint", type=Path, default=Path("train_default_model.pt"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)  # the other core simulates
    reuse_large_blocks()
    network = train(options)
    set_head(network)
    save_model(options.output, network, describe(options.seed))


if __name__ == "__main__":
    main()
