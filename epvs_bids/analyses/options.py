"""What a group run can be told: which tables and analyses, and how networks are trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """What the group level reads and how it analyses it.

    Attributes
    ----------
    analyses
        Names of the analyses to run; empty for all that the data allow.
    ratings
        Table of visual scores; None for `phenotype/epvs.tsv` of `bids_dir`, else of `output_dir`.
    rater
        Column of the ratings to train on and compare with; None for the first.
    covariates
        Columns of `participants.tsv` that enter the age model beside age.
    site
        Column of `participants.tsv`, else of the ratings, that names site or scanner.
    strict
        Refuse what is otherwise left out with a warning: missing ages, unusable ratings, participants without
        a score.
    age_cap
        What an age written as `89+` counts as, in years; None refuses such a table.
    harmonise
        Remove site effects from the scores before agreement and age.
    """

    analyses: tuple[str, ...] = ()
    ratings: Path | None = None
    rater: str | None = None
    covariates: tuple[str, ...] = ()
    site: str | None = None
    strict: bool = False
    age_cap: float | None = None
    harmonise: bool = False


@dataclass(frozen=True, kw_only=True)
class GroupOptions(GroupSettings):
    """Choices of a group run, with those that both levels have.

    Attributes
    ----------
    participants
        Only these (`sub-…`); empty: all.
    sessions
        Only these (`ses-…`) of scores, regions and ratings; empty: all. A rating that names no session stays:
        it belongs to the participant's only one.
    model
        Model folder for analyses that score images; None: the default model.
    seed, threads, device
        Seed of every random draw, number of CPU threads, `auto|cpu|cuda`.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    model: Path | None = None
    seed: int = 0
    threads: int = 1
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a network is trained; None leaves a choice to the recipe.

    Attributes
    ----------
    model_name
        The model is written to `output_dir/models/<model_name>`.
    recipe
        `paper` (Dubost et al. 2019) or `modern`.
    loss
        `mse`, `mce`, `mqe`, `tukey` or `rmse`.
    features, blocks, convolutions
        Features of the first block (16, 32, 64), blocks (1–3), convolutions a block (1–4).
    dense
        Sizes of the dense layers: `(2000, 2000)`, `(2000,)` or `()`.
    flip_axes
        Axes (`x`, `y`, `z`) flipped at random by the augmentation; empty for none.
    augmentation
        Whether scans are augmented at all.
    max_epochs, patience
        Limits of the training loop, in epochs.
    n_models
        Networks of the ensemble, each with a split of its own.
    init_from
        A model to start from.
    resume
        Go on from the last checkpoint.
    training_sizes, repeats
        The learning curve: numbers of training scans, and random splits for each.
    configurations
        YAML file of named configurations to compare; None for those of the paper's Table 3.
    run_index
        Do only this run of a learning curve or comparison, so that a cluster can spread them.
    validation_fraction, test_fraction
        Shares of the participants, in [0, 1); None: 0.2 and none for `train`, 0.2 of each size and all others
        for a learning curve, those of the paper for a comparison.
    """

    model_name: str = "epvs"
    recipe: Literal["paper", "modern"] = "paper"
    loss: str | None = None
    features: int | None = None
    blocks: int | None = None
    convolutions: int | None = None
    dense: tuple[int, ...] | None = None
    flip_axes: tuple[str, ...] | None = None
    augmentation: bool = True
    max_epochs: int | None = None
    patience: int | None = None
    n_models: int = 1
    init_from: str | None = None
    resume: bool = False
    training_sizes: tuple[int, ...] = ()
    repeats: int = 5
    configurations: Path | None = None
    run_index: int | None = None
    validation_fraction: float | None = None
    test_fraction: float | None = None
