"""One model from one training set: initialised, warm-started, trained, measured and saved."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from epvs_bids.errors import BadDataError
from epvs_bids.network.architecture import RegressionNetwork, build_network
from epvs_bids.network.checkpoint import LoadedModel, ModelDescription, save_model
from epvs_bids.network.data import RegionStore
from epvs_bids.network.device import run_on
from epvs_bids.network.distributed import Workers
from epvs_bids.network.initialisation import initialise, start_at_mean
from epvs_bids.network.options import RECIPES, TrainingOptions
from epvs_bids.network.readout import apply_readout, column_sums, fit_readout, install_readout
from epvs_bids.network.training import Task, agreement_icc, predict, refusals_in_words, train
from epvs_bids.network.warm_start import warm_start
from epvs_bids.statistics.splitting import PARTS, Part

logger = logging.getLogger(__name__)

CARD = (
    "Trained on {scans} scans of {people} participants with the recipe of {recipe}. "
    "Validate it on scans of your own."
)

FEW = 8
"""Scans that a cold network's first scores are scaled on."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Regions and what is known of them.

    Parameters
    ----------
    store : RegionStore
        n regions.
    scores : ndarray
        (n,) visual scores, in EPVS.
    participants : sequence of str
        (n,) labels.
    preprocessing : mapping
        How the regions were made.
    template : str, optional
        Space they lie in; None for the scans' own.
    """

    store: RegionStore
    scores: NDArray[np.float64]
    participants: Sequence[str]
    preprocessing: Mapping[str, Any]
    template: str | None = None


@dataclass(frozen=True)
class Fitted:
    """A trained model.

    Parameters
    ----------
    network : RegressionNetwork
        With the weights that are kept.
    predictions : ndarray
        (n,) scores of the scans that were asked for, NaN elsewhere. Where only the readout was fitted, those
        of the scans it was fitted to come from fits that left their participant out.
    notes : tuple of str
        What a user has to know.
    training : dict
        What `model.json` says about the training.
    """

    network: RegressionNetwork
    predictions: NDArray[np.float64]
    notes: tuple[str, ...]
    training: dict[str, Any]


def fit_model(
    data: TrainingSet,
    parts: NDArray[np.str_],
    options: TrainingOptions,
    directory: Path,
    *,
    device: torch.device,
    workers: Workers,
    source: LoadedModel | None = None,
    resume: bool = False,
    fit_validation: bool = True,
) -> Fitted:
    """Train one model and write it to `directory`.

    Parameters
    ----------
    data : TrainingSet
        All scans, those for testing included.
    parts : ndarray of str
        (n,) of ``train``, ``validation``, ``test``.
    options : TrainingOptions
        How.
    directory : Path
        Gets the model, the training history and the state for `resume`.
    device, workers
        Where, and with which processes.
    source : LoadedModel, optional
        The model to start from.
    resume : bool
        Go on where a killed run was.
    fit_validation : bool
        Whether a readout is fitted to the validation scans, too; those of an ensemble differ by them.

    Raises
    ------
    BadDataError
        The model to start from was made for other regions, or can't be continued in the way asked for.
    """
    network = build_network(options.architecture, data.store.shape)
    initialise(network, options.initialisation, seed=options.seed)
    notes = _start_from(network, source, data) if source else ()
    if options.trainable == "readout":
        if source is None:
            raise BadDataError("A readout is fitted to a model that is there already: give --init-from.")
        known = (parts != "test") if fit_validation else (parts == "train")
        predictions, facts = _fit_readout(network, data, known, device)
    else:
        predictions, facts = _fit_network(
            network,
            data,
            parts,
            options,
            directory,
            device=device,
            workers=workers,
            resume=resume,
            source=source,
        )
    training = _summary(data, parts, options, source) | facts
    fitted = Fitted(network.cpu().eval(), predictions, notes, training)
    if workers.leads:
        _save(fitted, data, parts, directory)
    workers.wait()
    return fitted


def _start_from(network: RegressionNetwork, source: LoadedModel, data: TrainingSet) -> tuple[str, ...]:
    """Warm-start a network; return what to tell."""
    source.description.check_preprocessing(data.preprocessing)
    message = f"Started from model {source.name}: {warm_start(network, source.network)}."
    logger.info("%s", message)
    return (message,)


def _fit_readout(
    network: RegressionNetwork, data: TrainingSet, known: NDArray[np.bool_], device: torch.device
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Fit the readout to known scores: leaving participants out in turn replaces validation."""
    sums = run_on(device, lambda where: column_sums(network, data.store, device=where))
    readout = fit_readout(
        sums[known],
        data.scores[known],
        knots=network.architecture.profile,
        participants=np.asarray(data.participants)[known].tolist(),
    )
    install_readout(network, readout)
    predictions = apply_readout(sums, readout)
    predictions[known] = readout.left_out
    penalty = readout.penalty if np.isfinite(readout.penalty) else "plain sum"
    return predictions, {"readout_penalty": penalty}


def _fit_network(
    network: RegressionNetwork,
    data: TrainingSet,
    parts: NDArray[np.str_],
    options: TrainingOptions,
    directory: Path,
    *,
    device: torch.device,
    workers: Workers,
    resume: bool,
    source: LoadedModel | None,
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Train all weights; predict validation and test scans."""
    task = Task(
        store=data.store,
        scores=data.scores,
        train=np.flatnonzero(parts == "train"),
        validation=np.flatnonzero(parts == "validation"),
        source=source.description.weights_sha256 if source else "",
    )
    if not len(task.train) or not len(task.validation):
        raise BadDataError("The split leaves no scans for training or for validation: give larger fractions.")
    held_out = np.flatnonzero(parts != "train")
    predictions = np.full(len(parts), np.nan)
    with refusals_in_words(network):
        if source is None and options.initialisation == "spots":
            few = (data.store.region(int(index)).to(device) for index in task.train[:FEW])
            start_at_mean(network.to(device), few, float(data.scores[task.train].mean()))
        trained = train(network, task, options, directory, device=device, workers=workers, resume=resume)
        predictions[held_out] = predict(network, data.store, held_out, device=device, workers=workers)
    state = trained.state
    return predictions, {"epochs": state.epoch, "best_epoch": state.best_epoch, "ended": state.stopped}


def _summary(
    data: TrainingSet, parts: NDArray[np.str_], options: TrainingOptions, source: LoadedModel | None
) -> dict[str, Any]:
    """Describe data and recipe for `model.json`."""
    people = np.asarray(data.participants)
    return {
        "options": options.to_dict(),
        "init_from": source.name if source else None,
        "template": data.template,
        "scans": {part: int((parts == part).sum()) for part in PARTS},
        "participants": {part: len(np.unique(people[parts == part])) for part in PARTS},
        "score_mean": float(data.scores.mean()),
        "score_range": [float(data.scores.min()), float(data.scores.max())],
    }


def held_out(parts: NDArray[np.str_], predictions: NDArray[np.float64], part: Part) -> NDArray[np.bool_]:
    """Choose the scans of a part whose predictions say something about new scans; (n,) of bool.

    Scans that a fitted readout left out in turn count as validation.
    """
    chosen: NDArray[np.bool_] = (parts == "test") if part == "test" else (parts != "test")
    return chosen & np.isfinite(predictions)


def _save(fitted: Fitted, data: TrainingSet, parts: NDArray[np.str_], directory: Path) -> None:
    """Write the model with the agreement that its predictions reach on each part."""
    metrics: dict[str, dict[str, float]] = {}
    held: tuple[Part, ...] = ("validation", "test")
    for part in held:
        chosen = held_out(parts, fitted.predictions, part)
        if chosen.sum() >= 3:
            error = fitted.predictions[chosen] - data.scores[chosen]
            icc = agreement_icc(data.scores[chosen], fitted.predictions[chosen])
            metrics[part] = {"n": int(chosen.sum()), "icc11": icc, "mse": float(np.mean(error**2))}
    metrics = {part: {k: v for k, v in found.items() if np.isfinite(v)} for part, found in metrics.items()}
    known = parts != "test"
    description = ModelDescription(
        architecture=fitted.network.architecture,
        input_shape=fitted.network.input_shape,
        preprocessing=dict(data.preprocessing),
        training=fitted.training,
        metrics=metrics,
        card=CARD.format(
            scans=int(known.sum()),
            people=len(np.unique(np.asarray(data.participants)[known])),
            recipe=RECIPES[fitted.training["options"]["recipe"]],
        ),
    )
    save_model(directory, fitted.network, description)
