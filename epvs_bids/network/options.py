"""How a network is trained: the paper's recipe, a modern one, and what a user changes in either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from epvs_bids.errors import BadDataError, UsageError
from epvs_bids.network.architecture import Architecture
from epvs_bids.network.augmentation import Augmentation
from epvs_bids.network.initialisation import Scheme
from epvs_bids.network.losses import LOSSES

Recipe = Literal["paper", "modern"]
RECIPES: Mapping[Recipe, str] = {"paper": "Dubost et al. 2019", "modern": "docs/training.md"}
"""Where each recipe is described."""
LAYERS = ("features", "blocks", "convolutions", "dense")
PROFILE = 6
"""Weights along the height of the region that a warm-started counting network learns (ours)."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Everything that decides what is learned; the defaults are the paper's recipe (section 3.1).

    Parameters
    ----------
    recipe : {"paper", "modern"}
        What these options were made from, before the user's changes.
    architecture : Architecture
        Of the network.
    initialisation : {"gaussian", "spots"}
        Weights before training; with ``spots`` a cold network's first scores have the mean of the ratings.
    trainable : {"all", "readout"}
        ``readout`` keeps a warm-started network's detection maps and fits only the line from them to the
        score; it takes one pass over the scans.
    loss : str
        A name of `epvs_bids.network.losses.LOSSES`.
    optimiser : {"adadelta", "adamw"}
        Adadelta with rho = 0.95 (Zeiler 2012), or AdamW with weight decay 1e-4.
    learning_rate : float
        1 is Adadelta's own scale.
    schedule : {"constant", "cosine"}
        ``cosine`` falls to zero over `max_epochs` after a short rise.
    scans_per_step : int
        Scans whose gradients are averaged before each step, in each process.
    augmentation : Augmentation, optional
        None for none.
    max_epochs : int
        Most passes over the training scans.
    patience : int
        Epochs without a better validation loss after which training has settled (ours).
    seed : int
        Of weights, order and augmentation.
    """

    recipe: Recipe = "paper"
    architecture: Architecture = field(default_factory=Architecture)
    initialisation: Scheme = "gaussian"
    trainable: Literal["all", "readout"] = "all"
    loss: str = "mse"
    optimiser: Literal["adadelta", "adamw"] = "adadelta"
    learning_rate: float = 1.0
    schedule: Literal["constant", "cosine"] = "constant"
    scans_per_step: int = 1
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    max_epochs: int = 200
    patience: int = 20
    seed: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `model.json` keeps them."""
        return asdict(self)


PAPER = TrainingOptions()
"""Dubost et al. 2019."""

SMALL = Architecture(channels=((8, 8),), head="sum", scaling="local", pooling=2)
"""The small configuration for a cold start: it sees local contrast at 1 mm and adds up a detection map."""

MODERN = TrainingOptions(
    recipe="modern",
    architecture=SMALL,
    initialisation="spots",
    optimiser="adamw",
    learning_rate=3e-3,
    schedule="cosine",
    scans_per_step=4,
    augmentation=Augmentation(rotation=0, translation=0, flip_axes=("x",)),
    max_epochs=30,
)
"""A small network that adds up a detection map (ours; docs/training.md says why)."""


def make_options(
    recipe: Recipe,
    *,
    source: Architecture | None = None,
    changes: Mapping[str, Any] | None = None,
) -> TrainingOptions:
    """Take a recipe and what the user changed in it.

    Parameters
    ----------
    recipe : {"paper", "modern"}
        Where everything else comes from.
    source : Architecture, optional
        Of the model to start from. The modern recipe keeps it and, where it counts by a detection map, fits
        the readout only; the paper's recipe keeps its own architecture.
    changes : mapping, optional
        Values that are not None replace the recipe's: `loss`, `features`, `blocks`, `convolutions`, `dense`,
        `flip_axes`, `max_epochs`, `patience`, `seed`, and `augmentation` (False for none).

    Raises
    ------
    BadDataError
        An unknown name, loss or axis, or an architecture that can't be.
    UsageError
        A change that is without effect, as only the readout is fitted.
    """
    wanted = {name: value for name, value in (changes or {}).items() if value is not None}
    options = PAPER if recipe == "paper" else MODERN
    layers: dict[str, Any] = {name: wanted.pop(name) for name in LAYERS if name in wanted}
    if recipe == "modern" and source is not None and not layers:
        options = _continue_from(options, source)
    if options.trainable == "readout":
        _refuse_without_effect(wanted)
    options = replace(options, architecture=_change_layers(options.architecture, layers))
    options = replace(options, augmentation=_change_augmentation(options.augmentation, wanted))
    for name, value in wanted.items():
        if name not in ("loss", "max_epochs", "patience", "seed"):
            raise BadDataError(f"There is no training option {name!r}.")
        if name == "loss" and value not in LOSSES:
            raise BadDataError(f"There is no loss {value!r}: {', '.join(LOSSES)}.")
        options = replace(options, **{name: value})
    options.architecture.check()
    return options


def _refuse_without_effect(wanted: Mapping[str, Any]) -> None:
    """Refuse what says how weights are trained where none are."""
    asked = {name: value for name, value in wanted.items() if not (name == "augmentation" and value)}
    for name in ("loss", "max_epochs", "patience", "flip_axes", "augmentation"):
        if name in asked:
            raise UsageError(
                f"{name} is without effect where only the readout of a model is fitted (--recipe modern "
                "--init-from): leave it out, or train all weights with --recipe paper."
            )


def _continue_from(options: TrainingOptions, source: Architecture) -> TrainingOptions:
    """Keep the architecture of a model; where it has a detection map, only the readout is fitted."""
    if source.head == "sum":
        return replace(options, architecture=replace(source, profile=PROFILE), trainable="readout")
    return replace(options, architecture=source, learning_rate=options.learning_rate / 10)


def _change_layers(architecture: Architecture, layers: Mapping[str, Any]) -> Architecture:
    """Change the layers of an architecture; naming dense layers asks for the paper's head."""
    if not layers:
        return architecture
    layers = {name: tuple(value) if name == "dense" else value for name, value in layers.items()}
    if architecture.channels is not None:
        defaults = {"features": architecture.channels[0][0], "blocks": 2, "convolutions": 1}
        layers = defaults | layers
        architecture = replace(architecture, channels=None, dilations=None)
    head: Literal["dense", "sum"] = "dense" if "dense" in layers else architecture.head
    return replace(architecture, **layers, head=head)


def _change_augmentation(augmentation: Augmentation | None, wanted: dict[str, Any]) -> Augmentation | None:
    """Take `augmentation` and `flip_axes` out of `wanted` and apply them."""
    axes = wanted.pop("flip_axes", None)
    if wanted.pop("augmentation", True) is False or augmentation is None:
        return None
    if axes is not None and not set(axes) <= {"x", "y", "z"}:
        raise BadDataError(f"flip_axes is {axes!r}; it takes x, y and z.")
    return augmentation if axes is None else replace(augmentation, flip_axes=tuple(axes))
