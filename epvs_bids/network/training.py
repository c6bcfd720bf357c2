"""The training loop: one network, one training set, one split.

A run can be killed at any moment and resumed: it ends with the weights of an uninterrupted one, bit for bit
on a CPU with the same number of threads.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from epvs_bids.errors import TryAgainError
from epvs_bids.network.architecture import RegressionNetwork
from epvs_bids.network.augmentation import transform
from epvs_bids.network.board import Board, report
from epvs_bids.network.data import RegionStore
from epvs_bids.network.device import full_precision, refusal
from epvs_bids.network.distributed import Workers
from epvs_bids.network.losses import LOSSES
from epvs_bids.network.memory import (
    reuse_large_blocks,
    training_bytes,
    use_checkpointing_where_needed,
)
from epvs_bids.network.options import TrainingOptions
from epvs_bids.network.state import TrainingState, load_state, save_state, write_history
from epvs_bids.statistics.icc import intraclass_correlations

logger = logging.getLogger(__name__)

CHECKPOINT, HISTORY = "checkpoint.pt", "history.csv"
WARM_UP = 0.05
"""Share of the epochs over which the cosine schedule rises."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned from.

    Parameters
    ----------
    store : RegionStore
        All regions.
    scores : ndarray
        (n,) visual scores, in EPVS.
    train, validation : ndarray of int
        Indices of the scans of each part.
    source : str
        SHA-256 of the weights of the model that the network starts from; empty for a cold start.
    """

    store: RegionStore
    scores: NDArray[np.float64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    source: str = ""


@dataclass(frozen=True)
class Trained:
    """Result of a run: the network with its best weights, the epoch they are of, and the state at the end."""

    network: RegressionNetwork
    state: TrainingState


@dataclass
class _Run:
    """A run under way."""

    network: RegressionNetwork
    task: Task
    options: TrainingOptions
    directory: Path
    device: torch.device
    workers: Workers
    optimiser: torch.optim.Optimizer
    model: nn.Module
    scaler: torch.amp.GradScaler
    state: TrainingState = field(default_factory=TrainingState)
    facts: dict[str, Any] = field(default_factory=dict)


def train(
    network: RegressionNetwork,
    task: Task,
    options: TrainingOptions,
    directory: Path,
    *,
    device: torch.device,
    workers: Workers,
    resume: bool = False,
) -> Trained:
    """Train a network that is initialised already.

    Parameters
    ----------
    network : RegressionNetwork
        Trained in place; ends with the weights of its best epoch.
    task : Task
        Regions, scores and their division.
    options : TrainingOptions
        How.
    directory : Path
        Gets `checkpoint.pt` (each epoch), `history.csv` and TensorBoard's events.
    device : torch.device
        Where.
    workers : Workers
        The processes that train together.
    resume : bool
        Go on from `checkpoint.pt` where there is one.

    Raises
    ------
    BadDataError
        The checkpoint belongs to other options or data.
    TryAgainError
        The GPU has no memory for a step, or does not work.
    """
    reuse_large_blocks()
    with refusals_in_words(network):
        run = _start(network, task, options, directory, device=device, workers=workers)
        if resume and (directory / CHECKPOINT).is_file():
            _restore(run)
        board = Board(directory / "tensorboard", run.state.epoch + 1) if workers.leads else None
        while not run.state.stopped:
            _one_epoch(run)
            if board is not None and run.state.history:
                board.add(run.state.history[-1])
                report(run.state.history, epochs=options.max_epochs, ended=bool(run.state.stopped))
        if board is not None:
            board.close()
    network.load_state_dict(run.state.best_weights or run.state.weights)
    logger.info("Training ended: %s; epoch %d is kept.", run.state.stopped, run.state.best_epoch)
    return Trained(network.eval(), run.state)


@contextmanager
def refusals_in_words(network: RegressionNetwork) -> Iterator[None]:
    """Turn what CUDA reports into an error with a remedy; training has no use for a CPU that takes over."""
    try:
        yield
    except RuntimeError as error:
        reason = refusal(error)
        if not reason:
            raise
        need = f"a training step takes about {training_bytes(network) / 1e9:.1f} GB"
        remedy = "Free it, take another one, or give --device cpu; --resume goes on after the last epoch"
        raise TryAgainError(f"{reason}; {need}. {remedy}.") from error


def _start(
    network: RegressionNetwork,
    task: Task,
    options: TrainingOptions,
    directory: Path,
    *,
    device: torch.device,
    workers: Workers,
) -> _Run:
    """Put network and optimiser in place."""
    network.to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    use_checkpointing_where_needed(network, device)
    model: nn.Module = network
    if workers.count > 1:
        # Gradients of channels-last weights are copied into the buckets, which costs nothing that is felt.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        model = DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
    optimiser = make_optimiser(network, options)
    half = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    run = _Run(network, task, options, directory, device, workers, optimiser, model, scaler)
    learned_from = {
        "train": task.train.tolist(),
        "validation": task.validation.tolist(),
        "scores": task.scores.tolist(),
        "regions (SHA-256)": task.store.sha256,
        "init_from (SHA-256)": task.source,
    }
    together = options.scans_per_step * workers.count
    run.facts = {**options.to_dict(), **learned_from, "scans_in_each_step": together}
    run.state.weights = _copy(network.state_dict())
    return run


def make_optimiser(network: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe: Adadelta (rho 0.95, Keras 1's defaults) or AdamW."""
    rate = options.learning_rate
    if options.optimiser == "adadelta":
        return torch.optim.Adadelta(network.parameters(), lr=rate, rho=0.95, eps=1e-6)
    return torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)


def _restore(run: _Run) -> None:
    """Take up a run where its checkpoint left it."""
    run.state = load_state(run.directory / CHECKPOINT, run.facts)
    run.network.load_state_dict(run.state.weights)
    run.optimiser.load_state_dict(run.state.optimiser)
    run.scaler.load_state_dict(run.state.scaler)
    logger.info("Resumed after epoch %d.", run.state.epoch)


def _one_epoch(run: _Run) -> None:
    """Train for an epoch, measure, decide whether that was the last, and save."""
    started = time.monotonic()
    epoch = run.state.epoch + 1
    rate = learning_rate(run.options, epoch)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    training_loss = _train_epoch(run, epoch)
    if not math.isfinite(training_loss):
        _stop(run, f"the loss was not a number in epoch {epoch}, the last good weights are kept")
        return
    predicted = predict(
        run.network, run.task.store, run.task.validation, device=run.device, workers=run.workers
    )
    error = torch.from_numpy(predicted - run.task.scores[run.task.validation])
    loss = float(LOSSES[run.options.loss](error))
    icc = agreement_icc(run.task.scores[run.task.validation], predicted)
    row = [float(epoch), training_loss, loss, icc, rate, time.monotonic() - started]
    _note(run, row)


def _note(run: _Run, row: list[float]) -> None:
    """Put an epoch's result into the state and the state on disk."""
    state, options = run.state, run.options
    state.epoch = int(row[0])
    state.history.append(row)
    state.weights = _copy(run.network.state_dict())
    if row[2] < state.best_loss:
        state.best_loss, state.best_epoch, state.best_weights = row[2], state.epoch, state.weights
    if state.epoch >= options.max_epochs:
        state.stopped = f"all {options.max_epochs} epochs are done"
    elif state.epoch - state.best_epoch >= options.patience:
        state.stopped = f"the validation loss has not fallen for {options.patience} epochs"
    _save(run)


def _stop(run: _Run, reason: str) -> None:
    run.state.stopped = reason
    logger.warning("Training stops: %s.", reason)
    _save(run)


def _save(run: _Run) -> None:
    if run.workers.leads:
        run.state.optimiser, run.state.scaler = run.optimiser.state_dict(), run.scaler.state_dict()
        save_state(run.directory / CHECKPOINT, run.state, run.facts)
        write_history(run.directory / HISTORY, run.state.history)
    run.workers.wait()


def _copy(weights: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def learning_rate(options: TrainingOptions, epoch: int) -> float:
    """Return the learning rate of an epoch (from 1)."""
    if options.schedule == "constant":
        return options.learning_rate
    rise = max(1.0, WARM_UP * options.max_epochs)
    if epoch <= rise:
        return options.learning_rate * epoch / rise
    share = (epoch - rise) / max(1.0, options.max_epochs - rise + 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _generator(seed: int, *numbers: int) -> torch.Generator:
    """Make a generator whose state is a function of the numbers alone."""
    state = int(np.random.SeedSequence((seed, *numbers)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)


def epoch_order(count: int, *, seed: int, epoch: int, step: int) -> list[int]:
    """Order of the scans in an epoch, filled up from its start to a multiple of the scans in a step."""
    order = torch.randperm(count, generator=_generator(seed, epoch)).tolist()
    missing = -count % step
    return [*order, *(order * (missing // count + 1))[:missing]]


def _train_epoch(run: _Run, epoch: int) -> float:
    """Run through all training scans once; return the mean loss, not finite where training broke down."""
    options, count = run.options, run.workers.count
    together = options.scans_per_step * count
    order = epoch_order(len(run.task.train), seed=options.seed, epoch=epoch, step=together)
    run.model.train()
    total = 0.0
    for start in range(0, len(order), together):
        mine = range(start + run.workers.rank, start + together, count)
        loss = sum(_backward(run, epoch, position, order[position]) for position in mine)
        summed = run.workers.share(torch.tensor([loss], dtype=torch.float64))
        if not math.isfinite(float(summed)):
            return float("nan")
        run.scaler.step(run.optimiser)
        run.scaler.update()
        run.optimiser.zero_grad(set_to_none=True)
        total += float(summed)
    return total / len(order)


def _backward(run: _Run, epoch: int, position: int, scan: int) -> float:
    """Add one scan's gradient; return its loss."""
    index = int(run.task.train[scan])
    region = run.task.store.region(index).to(run.device).float()
    if run.options.augmentation is not None:
        generator = _generator(run.options.seed, epoch, position)
        region = transform(region, run.options.augmentation.draw(generator))
    with autocast(run.device):
        score = run.model(region)
    loss = LOSSES[run.options.loss](score.float() - float(run.task.scores[index]))
    run.scaler.scale(loss / run.options.scans_per_step).backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Compute in bfloat16 on a GPU that has it, else in float16; in float32 on the CPU."""
    if device.type != "cuda":
        return nullcontext()
    kind = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.autocast("cuda", dtype=kind)


def predict(
    network: RegressionNetwork,
    store: RegionStore,
    indices: Sequence[int] | NDArray[np.int64],
    *,
    device: torch.device,
    workers: Workers | None = None,
) -> NDArray[np.float64]:
    """Score regions of a store with a network in training, each process its share; (n,) in EPVS.

    In float32 also on a GPU: what is measured is what later scores scans.
    """
    together = workers or Workers()
    network.eval()
    scores = torch.zeros(len(indices), dtype=torch.float64)
    with torch.inference_mode(), full_precision():
        for place in range(together.rank, len(indices), together.count):
            region = store.region(int(indices[place])).to(device).float()
            scores[place] = float(network(region))
    result: NDArray[np.float64] = together.share(scores).numpy()
    return result


def agreement_icc(reference: ArrayLike, score: ArrayLike) -> float:
    """ICC(1,1) of scores with a visual count; NaN for fewer than two scans, or without variance."""
    table = np.column_stack([np.asarray(reference, dtype=float), np.asarray(score, dtype=float)])
    if len(table) < 2 or not np.isfinite(table).all() or np.ptp(table) == 0:
        return float("nan")
    return float(intraclass_correlations(table).icc11.value)
