"""Train the default model on simulated regions; one command that continues where it was stopped.

Run as ``.venv/bin/python tools/train_default_model.py --minutes 40``. It learns positions first: batches of
patches from endlessly simulated regions, three maps of 1 mm cells (EPVS density, EPVS volume, other fluid),
binary cross-entropy. The head that counts is then the line from the sum of the density map to the number of
visible EPVS, fitted on regions that it has not seen. A checkpoint is written every minute.
"""

import argparse
import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.network.architecture import Architecture, RegressionNetwork, build_network
from epvs_bids.network.checkpoint import DEFAULT_MODEL, ModelDescription, save_model
from epvs_bids.network.scaling import robust_scale
from epvs_bids.simulation.anatomy import Anatomy, draw_anatomy, draw_person
from epvs_bids.simulation.region import REGION, TRAINING, simulate_region
from epvs_bids.simulation.targets import MASS, target_maps

logger = logging.getLogger("train")

ARCHITECTURE = Architecture(
    channels=((8,), (16, 16, 32, 32)),
    dilations=((1,), (1, 1, 2, 4)),
    head="sum",
    normalisation="batch",
    scaling="robust",
    maps=3,
)
CELLS = (28, 36, 28)
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
        Of the first region; workers draw different ones.
    pool
        Anatomies kept at a time; one in four regions gets a new one.
    """

    def __init__(self, seed: int, pool: int = 20) -> None:
        self.seed, self.pool = seed, pool

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield (1, X, Y, Z) patches, (3, x, y, z) targets, and the (1, x, y, z) cells that count."""
        torch.set_num_threads(1)
        worker = get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        anatomies: list[Anatomy] = []
        waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        while True:
            if len(anatomies) < 3 or rng.random() < 0.25:
                anatomies = [
                    *anatomies[1 - self.pool :],
                    draw_anatomy(draw_person(rng, pose=TRAINING.pose), REGION),
                ]
            anatomy = anatomies[int(rng.integers(len(anatomies)))]
            region = simulate_region(int(rng.integers(2**62)), anatomy=anatomy)
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


def loss_of(logits: torch.Tensor, target: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the three maps, less outside the mask, and the error of the patch's count."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weights = torch.tensor([1.0, 0.5, 0.1])[None, :, None, None, None]
    place = torch.where(inside, 1.0, 0.3)
    cells = (entropy * weights * place).sum() / place.sum()
    predicted = torch.sigmoid(logits[:, 0]).sum(dim=(1, 2, 3)) / MASS
    wanted = target[:, 0].sum(dim=(1, 2, 3)) / MASS
    return cells * 10 + 0.1 * nn.functional.smooth_l1_loss(predicted, wanted)


def train(options: argparse.Namespace) -> RegressionNetwork:
    """Train until the time is used up; return the averaged weights."""
    torch.manual_seed(options.seed)
    network = build_network(ARCHITECTURE).to(memory_format=torch.channels_last_3d)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and layer.kernel_size[0] == 3:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    average = build_network(ARCHITECTURE)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    step, spent = 0, 0.0
    if options.checkpoint.exists():
        state = torch.load(options.checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    data = Patches(options.seed + step)
    loader = iter(DataLoader(data, batch_size=4, num_workers=1, prefetch_factor=2))
    budget, saved, smooth = options.minutes * 60, spent, None
    while spent < budget:
        began = time.process_time()
        patch, target, inside = next(loader)
        progress = spent / budget
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-5
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.train().logits(patch.contiguous(memory_format=torch.channels_last_3d))
        loss = loss_of(logits.float(), target, inside)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        update_average(average, network, min(0.99, step / (step + 10)))
        step += 1
        smooth = loss.item() if smooth is None else 0.97 * smooth + 0.03 * loss.item()
        spent += time.process_time() - began
        if step % 20 == 0:
            logger.info("step %d, %.1f min, loss %.4f", step, spent / 60, smooth)
        if spent - saved > 60 or spent >= budget:
            saved = spent
            modules = {"network": network, "average": average, "optimiser": optimiser}
            save_state(options.checkpoint, modules, {"step": step, "spent": spent})
    return average.eval()


def save_state(
    path: Path,
    modules: dict[str, nn.Module | torch.optim.Optimizer],
    progress: dict[str, float],
) -> None:
    """Write the checkpoint, atomically."""
    temporary = path.with_suffix(".tmp")
    torch.save({name: module.state_dict() for name, module in modules.items()} | progress, temporary)
    temporary.replace(path)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights and of the running statistics."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def fit_head(network: RegressionNetwork, regions: int, seed: int) -> dict[str, float]:
    """Set the head to the line from the density's sum to the number of visible EPVS, on unseen regions."""
    sums, counts = [], []
    for index in range(regions):
        region = simulate_region(seed + index, count=index % 25)
        maps = network.detection_map(torch.from_numpy(region.region)[None, None])
        sums.append(float(maps[0, 0].sum()) / MASS)
        counts.append(float(target_maps(region)[0].sum()) / MASS)
    x, y = np.array(sums), np.array(counts)
    slope, intercept = np.polyfit(x, y, 1)
    network.head.readout.weight.zero_()
    network.head.readout.weight[0, 0] = slope / MASS
    network.head.readout.bias.fill_(intercept)
    correlation = float(np.corrcoef(x, y)[0, 1])
    return {"slope": float(slope), "intercept": float(intercept), "r": correlation, "regions": regions}


def main() -> None:
    """Train, fit the head, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=40, help="processor time of the training steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--regions", type=int, default=40, help="regions that the head is fitted on")
    parser.add_argument("--output", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--checkpoint", type=Path, default=Path("train_default_model.pt"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    network = train(options)
    head = fit_head(network, options.regions, seed=10**9)
    logger.info("head: %s", head)
    description = ModelDescription(
        architecture=ARCHITECTURE,
        input_shape=(168, 128, 84),
        preprocessing=RoiParameters().to_dict(),
        training={"data": "simulated", "minutes": options.minutes, "seed": options.seed, "head": head},
        card=CARD,
    )
    save_model(options.output, network, description)


if __name__ == "__main__":
    main()
