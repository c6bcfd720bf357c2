"""Recipes and what a user changes in them."""

from __future__ import annotations

import pytest
from networks import COUNTING

from epvs_bids.errors import BadDataError
from epvs_bids.network.architecture import Architecture
from epvs_bids.network.options import MODERN, PAPER, PROFILE, make_options


def test_the_papers_recipe_is_the_default() -> None:
    options = make_options("paper")
    assert options == PAPER
    assert options.architecture == Architecture(features=32, blocks=2, convolutions=4, dense=(2000, 2000))
    assert (options.optimiser, options.learning_rate, options.loss) == ("adadelta", 1.0, "mse")
    assert (options.initialisation, options.scans_per_step, options.schedule) == ("gaussian", 1, "constant")
    assert options.augmentation is not None
    assert (options.augmentation.rotation, options.augmentation.translation) == (0.2, 2.0)
    assert options.augmentation.flip_axes == ("x", "y")


def test_changes_replace_what_a_recipe_says() -> None:
    changes = {
        "loss": "tukey",
        "features": 16,
        "dense": [2000],
        "flip_axes": ["z"],
        "max_epochs": 3,
        "blocks": None,
    }
    options = make_options("paper", changes=changes)
    assert options.architecture == Architecture(features=16, dense=(2000,))
    assert options.augmentation is not None
    assert options.augmentation.flip_axes == ("z",)
    assert (options.loss, options.max_epochs, options.patience) == ("tukey", 3, PAPER.patience)
    assert make_options("paper", changes={"augmentation": False}).augmentation is None
    assert make_options("paper", changes={"flip_axes": ()}).augmentation.flip_axes == ()


def test_modern_continues_a_counting_model_by_its_readout() -> None:
    options = make_options("modern", source=COUNTING)
    assert options.trainable == "readout"
    assert options.architecture.channels == COUNTING.channels
    assert options.architecture.profile == PROFILE
    assert make_options("paper", source=COUNTING).architecture == PAPER.architecture


def test_modern_with_layers_of_its_own_starts_cold() -> None:
    options = make_options("modern", source=COUNTING, changes={"features": 8})
    assert options.trainable == "all"
    assert options.architecture.stages[0] == (8,)
    assert options.architecture.head == "sum"
    assert make_options("modern", changes={"dense": (10,)}).architecture.head == "dense"
    assert make_options("modern") == MODERN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "cosine"}, "no loss 'cosine'"),
        ({"speed": 3}, "no training option 'speed'"),
        ({"flip_axes": ["q"]}, "flip_axes"),
    ],
)
def test_unknown_names_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        make_options("paper", changes=changes)
