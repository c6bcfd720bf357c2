"""What is timed of the networks: a forward pass, a training step, and what both cost in operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import FOLDER
from epvs_bids.network.architecture import PAPER_INPUT, Architecture, RegressionNetwork, build_network
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, ModelDescription, load_models
from epvs_bids.network.device import full_precision
from epvs_bids.network.inference import prepare, score
from epvs_bids.network.initialisation import initialise
from epvs_bids.network.losses import LOSSES
from epvs_bids.network.memory import reuse_large_blocks
from epvs_bids.network.options import MODERN, PAPER, TrainingOptions
from epvs_bids.network.training import make_optimiser

OPTIONS = {"paper": PAPER, "small": MODERN}
VISUAL_SCORE = 10.0


def region() -> np.ndarray:
    """Draw a region of the paper's shape: noise in [0, 1] under a smooth ellipsoid."""
    axes = [np.linspace(-1, 1, size) for size in PAPER_INPUT]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    noise = np.random.default_rng(1).random(PAPER_INPUT)
    smooth = np.clip(2 - 2 * np.sqrt(x**2 + y**2 + z**2), 0, 1)
    return (noise * smooth).astype(np.float32)


def network_named(name: str) -> RegressionNetwork:
    """Build `paper` or `small` with initial weights, or load `default`, the model that ships."""
    if name == "default":
        return load_models(DEFAULT_MODEL)[0].network
    options = OPTIONS[name]
    network = build_network(options.architecture)
    initialise(network, options.initialisation, seed=1)
    return network


def operations(architecture: Architecture) -> float:
    """Return the floating-point operations of one forward pass: two for each multiplication of a weight."""
    shape = np.array(PAPER_INPUT) // architecture.pooling
    if architecture.head == "sum":
        shape = shape + 2 * architecture.margin
    total, inputs = 0.0, 1
    for level, stage in enumerate(architecture.stages):
        shape = shape // 2 if level else shape
        for outputs, dilation in zip(stage, architecture.stage_dilations[level], strict=True):
            shape = shape - 2 * dilation
            total += 2 * 27 * inputs * outputs * float(np.prod(shape))
            inputs = outputs
    if architecture.head == "sum":
        return total + 2 * inputs * architecture.maps * float(np.prod(shape))
    widths = [inputs * int(np.prod(shape // np.minimum(4, shape))), *architecture.dense, 1]
    return total + sum(2.0 * a * b for a, b in pairwise(widths))


def precision_named(name: str, device: str) -> AbstractContextManager[Any]:
    """Compute in `float32`, in `tf32` (a GPU's own default), or in `bfloat16` where autocast allows it."""
    if name == "bfloat16":
        return torch.autocast(device, dtype=torch.bfloat16)
    return full_precision() if name == "float32" else nullcontext()


def forward(name: str, threads: int, device: str = "cpu", precision: str = "float32") -> Callable[[], float]:
    """Score the region with a network that is ready to run."""
    torch.set_num_threads(threads)
    reuse_large_blocks()
    network = prepare(network_named(name)).to(device)
    given = torch.from_numpy(region())[None, None]

    def run() -> float:
        with torch.inference_mode(), precision_named(precision, device):
            return float(network(given.to(device)))

    return run


def score_region(name: str, threads: int) -> Callable[[], float]:
    """Score the region as the participant level does, with everything that this involves."""
    models = load_models(DEFAULT_MODEL) if name == "default" else [_as_loaded(network_named(name))]
    given = region()
    return lambda: score(given, models, device="cpu", threads=threads).score


def _as_loaded(network: RegressionNetwork) -> LoadedModel:
    description = ModelDescription(
        architecture=network.architecture, input_shape=network.input_shape, preprocessing={}
    )
    return LoadedModel(network.eval(), description, "untrained")


def training_step(  # noqa: PLR0917 - as in the JSON of the worker
    name: str,
    threads: int,
    device: str = "cpu",
    precision: str = "float32",
    step: bool = True,
    checkpointing: bool = False,
) -> Callable[[], float]:
    """Train for one step on one scan, or, with `step` false, only run forward as training does."""
    torch.set_num_threads(threads)
    reuse_large_blocks()
    options = OPTIONS[name]
    network = network_named(name).train().to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.checkpointing = checkpointing
    optimiser = make_optimiser(network, options)
    given = torch.from_numpy(region())[None, None]

    def loss() -> Tensor:
        with precision_named(precision, device):
            predicted = network(given.to(device))
        return LOSSES[options.loss](predicted.float() - VISUAL_SCORE)

    def one_step() -> float:
        current = loss()
        current.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(current.detach())

    def one_forward() -> float:
        with torch.no_grad():
            return float(loss())

    return one_step if step else one_forward


def gpu_forward(name: str, threads: int, precision: str) -> Callable[[], dict[str, float]]:
    """Score the region on the GPU; returns the score and the most bytes that torch took there."""
    return _on_gpu(forward(name, threads, device="cuda", precision=precision))


def gpu_step(
    name: str, threads: int, precision: str, checkpointing: bool = False
) -> Callable[[], dict[str, float]]:
    """Train for one step on the GPU; returns the loss and the most bytes that torch took there."""
    return _on_gpu(
        training_step(name, threads, device="cuda", precision=precision, checkpointing=checkpointing)
    )


def _on_gpu(work: Callable[[], float]) -> Callable[[], dict[str, float]]:
    def run() -> dict[str, float]:
        value = work()
        torch.cuda.synchronize()
        return {"value": value, "peak": float(torch.cuda.max_memory_reserved())}

    return run


def options_named(name: str) -> TrainingOptions:
    """Return the recipe `paper` or `small`."""
    return OPTIONS[name]


def write_for_toolkits() -> Path:
    """Write the paper's weights and the region where other toolkits read them; return the folder."""
    folder = FOLDER / "data" / "toolkits"
    weights = folder / "weights.npz"
    if not weights.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "region.npy", region())
        state = {key: value.numpy() for key, value in network_named("paper").state_dict().items()}
        np.savez(weights, **state)
    return folder
