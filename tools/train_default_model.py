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
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from default_model_recipe import ARCHITECTURE, PARTS, ROUND, Part
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.network.architecture import RegressionNetwork, build_network
from epvs_bids.network.checkpoint import DEFAULT_MODEL, ModelDescription, save_model
from epvs_bids.network.device import choose_device
from epvs_bids.network.memory import reuse_large_blocks
from epvs_bids.network.scaling import robust_scale
from epvs_bids.simulation.anatomy import draw_anatomy, draw_person
from epvs_bids.simulation.region import REGION, TRAINING, SimulatedRegion, simulate_region
from epvs_bids.simulation.targets import MASS, target_maps

logger = logging.getLogger("train")

CELLS = (28, 36, 28)
BATCH = 4
SCHEDULE = ((0, 2 / 3, 1), (0, 5 / 9, 1))
"""Share of the steps done, and how far the cosine of the rate has come: it falls faster at the end."""
PATCH = tuple(2 * (size + ARCHITECTURE.margin) for size in CELLS)
CARD = (
    "Not validated against human raters. Trained on simulated scans only (epvs_bids/simulation): its "
    "score is the number of visible EPVS that a simulated scan of that look would hold. `group "
    "--analysis calibrate` brings it to a rater's scale; a model trained on ratings is better. Basal "
    "ganglia on PDw and T2w of adults; children, large infarcts and tumours were never seen. Recipe, "
    "numbers and misses: docs/default-model.md."
)


WAITING = 120
"""Patches, of thirty regions and fifteen people, that batches are drawn from; all processes have a share."""


class Patches(IterableDataset):
    """Patches of endlessly simulated regions with their targets; each process that makes some makes others.

    Parameters
    ----------
    seed
        Seed and number of the round.
    part
        Of the training.
    """

    def __init__(self, seed: tuple[int, int], part: Part) -> None:
        self.seed, self.part = seed, part

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield (1, X, Y, Z) patches, (3, x, y, z) targets, and the (1, x, y, z) cells that count."""
        torch.set_num_threads(1)
        threadpool_limits(1, "blas")  # else these and the process that learns wait for each other's threads
        os.nice(19)  # the process that learns goes first; these fill what it leaves of the cores
        process = get_worker_info()
        rng = np.random.default_rng((*self.seed, process.id if process else 0))
        share = WAITING // (process.num_workers if process else 1)
        waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for region in self.regions(rng):
            scaled = robust_scale(torch.from_numpy(region.region)[None, None])[0]
            maps = torch.from_numpy(target_maps(region))
            mask = torch.from_numpy(region.mask[::2, ::2, ::2] > 0.02)[None]
            waiting += [cut(rng, scaled, maps, mask, side) for side in (0, 1, 0, 1)]
            while len(waiting) > share:
                chosen = int(rng.integers(len(waiting)))
                yield waiting[chosen] if rng.random() < 0.5 else waiting.pop(chosen)

    def regions(self, rng: np.random.Generator) -> Iterator[SimulatedRegion]:
        """Simulate two regions of each person."""
        while True:
            anatomy = draw_anatomy(draw_person(rng, pose=TRAINING.pose), REGION)
            for _ in range(2):
                settings = self.part.regions.draw(rng) if self.part.regions else TRAINING
                yield simulate_region(int(rng.integers(2**62)), settings, anatomy=anatomy)


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
    weights = torch.tensor([1.0, 0.5, 0.1], device=logits.device)[None, :, None, None, None]
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
    recipe
        What the run is of: its checkpoint is for no other.
    """

    network: RegressionNetwork
    average: RegressionNetwork
    optimiser: torch.optim.Optimizer
    part: int = 0
    step: int = 0
    ends: list[dict[str, torch.Tensor]] = field(default_factory=list)
    recipe: str = ""

    def save(self, path: Path) -> None:
        """Write the checkpoint, atomically."""
        modules = {"network": self.network, "average": self.average, "optimiser": self.optimiser}
        state: dict[str, object] = {name: module.state_dict() for name, module in modules.items()}
        temporary = path.with_suffix(".tmp")
        done = {"part": self.part, "step": self.step, "ends": self.ends, "recipe": self.recipe}
        torch.save(state | done, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state.get("recipe") != self.recipe:
            raise SystemExit(
                f"{path} is of another recipe, seed or number of processes: go on with those, or remove it."
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.part, self.step, self.ends = state["part"], state["step"], state["ends"]

    def begin_next(self) -> None:
        """Begin the next part with the averaged weights."""
        if PARTS[self.part].kept:
            self.ends.append({name: value.cpu().clone() for name, value in self.average.state_dict().items()})
        self.network.load_state_dict(self.average.state_dict())
        self.optimiser = make_optimiser(self.network)
        self.part, self.step = self.part + 1, 0


def start(seed: int, device: torch.device) -> Training:
    """Make a network with random weights, and its optimiser."""
    torch.manual_seed(seed)
    network = build_network(ARCHITECTURE)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and layer.kernel_size[0] == 3:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    average = build_network(ARCHITECTURE)
    average.load_state_dict(network.state_dict())
    network.to(device, memory_format=torch.channels_last_3d)
    if quick_in_bfloat16(device):
        pad_inputs(network)
    return Training(network, average.to(device), make_optimiser(network))


def pad_inputs(network: RegressionNetwork) -> None:
    """Let dilated layers compute with a multiple of 16 inputs, the further ones zero: 4 % of a step.

    Else oneDNN (torch 2.13, bfloat16, channels last) reads memory that nobody wrote for the gradient of their
    weights, and no two runs are alike.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and max(layer.dilation) > 1 and layer.in_channels % 16:
            layer.forward = partial(_padded, layer)


def _padded(layer: nn.Conv3d, given: torch.Tensor) -> torch.Tensor:
    """Convolve with zeros for the inputs that are missing to a multiple of 16."""
    missing = (0, 0, 0, 0, 0, 0, 0, -layer.in_channels % 16)
    inputs, weight = (nn.functional.pad(tensor, missing) for tensor in (given, layer.weight))
    inputs, weight = (tensor.contiguous(memory_format=torch.channels_last_3d) for tensor in (inputs, weight))
    return nn.functional.conv3d(inputs, weight, layer.bias, layer.stride, layer.padding, layer.dilation)


def make_optimiser(network: RegressionNetwork) -> torch.optim.Optimizer:
    """Make an optimiser; `take_step` sets its rate."""
    return torch.optim.AdamW(network.parameters(), weight_decay=1e-4)


def train(options: argparse.Namespace) -> RegressionNetwork:
    """Go through all parts, or what is left of them; return the mean of the weights that are kept."""
    training = start(options.seed, choose_device(options.device))
    training.recipe = repr((options.seed, options.workers, PARTS))
    if options.checkpoint.exists():
        training.load(options.checkpoint)
    while training.part < len(PARTS):
        part = PARTS[training.part]
        while training.step < part.steps:
            learn(training, part, options.seed, options.workers)
            training.save(options.checkpoint)
        training.begin_next()
    mean = {
        name: sum(end[name] for end in training.ends) / len(training.ends)
        if value.dtype.is_floating_point
        else value
        for name, value in training.average.state_dict().items()
    }
    training.average.load_state_dict(mean)
    return training.average.cpu().eval()


def learn(training: Training, part: Part, seed: int, workers: int) -> None:
    """Take the steps of one round, with regions from as many processes."""
    data = Patches((seed, part.first_round + training.step // ROUND), part)
    patches = iter(DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=16))
    losses = []
    for _ in range(ROUND):
        batch = default_collate([next(patches) for _ in range(BATCH)])
        losses.append(take_step(training, batch, part))
        if training.step % 50 == 0:
            done = f"part {training.part + 1}, step {training.step} of {part.steps}"
            logger.info("%s, loss %.4f", done, np.mean(losses[-50:]))


def take_step(training: Training, batch: list[torch.Tensor], part: Part) -> float:
    """Learn from one batch; the rate rises for 30 steps and then falls. Return the loss."""
    device = next(training.network.parameters()).device
    patch, target, inside = (tensor.to(device) for tensor in batch)
    warm = min(1, (training.step + 1) / 30)
    falling = 0.5 + 0.5 * math.cos(math.pi * np.interp(training.step / part.steps, *SCHEDULE))
    for group in training.optimiser.param_groups:
        group["lr"] = part.rate * warm * falling + 1e-5
    with torch.autocast(device.type, torch.bfloat16, enabled=quick_in_bfloat16(device)):
        logits = training.network.train().logits(patch.contiguous(memory_format=torch.channels_last_3d))
    loss = loss_of(logits.float(), target, inside, count_weight=part.count_weight)
    training.optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(training.network.parameters(), 2.0)
    training.optimiser.step()
    update_average(training.average, training.network, min(0.99, training.step / (training.step + 10)))
    training.step += 1
    return loss.item()


def quick_in_bfloat16(device: torch.device) -> bool:
    """Whether it takes less time than float32: half where it is built in, else several times as much."""
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights and of the running statistics."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def set_head(network: RegressionNetwork) -> None:
    """Let the score be the sum of the density map, which was trained to be `MASS` for every visible EPVS.

    A level or a line fitted on simulated regions would make up for the EPVS that can't be seen there.
    """
    network.head.readout.weight.zero_()
    network.head.readout.weight[0, 0] = 1 / MASS
    network.head.readout.bias.zero_()


def describe(seed: int, workers: int) -> ModelDescription:
    """Describe the model; its metrics come later."""
    return ModelDescription(
        architecture=ARCHITECTURE,
        input_shape=(168, 128, 84),
        preprocessing=RoiParameters().to_dict(),
        training={
            "data": "simulated",
            "steps": [part.steps for part in PARTS],
            "seed": seed,
            "workers": workers,
        },
        card=CARD,
    )


def main() -> None:
    """Train, set the head, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate; part of the result")
    parser.add_argument("--output", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--checkpoint", type=Path, default=Path("train_default_model.pt"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(2)  # on any machine: the sums are taken in the same order
    reuse_large_blocks()
    network = train(options)
    set_head(network)
    save_model(options.output, network, describe(options.seed, options.workers))
    options.checkpoint.unlink()  # else the next run would end at once, whatever changed in the simulator


if __name__ == "__main__":
    main()
