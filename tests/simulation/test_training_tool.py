"""The recipe of the default model: a run that was stopped ends with the weights of one that was not."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from epvs_bids.network.checkpoint import DEFAULT_MODEL, load_models


@pytest.fixture
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("train_default_model")


def options_for(checkpoint: Path) -> argparse.Namespace:
    return argparse.Namespace(seed=3, checkpoint=checkpoint, device="cpu", workers=1)


@pytest.mark.slow
def test_stopped_training_goes_on_to_the_same_weights(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "ROUND", 1)
    monkeypatch.setattr(tool, "WAITING", 8)
    parts = (
        tool.Part(steps=1, rate=3e-3, first_round=0),
        tool.Part(steps=2, rate=1e-3, first_round=1, regions=tool.PARTS[-1].regions, kept=True),
        tool.Part(steps=1, rate=1e-3, first_round=1, count_weight=0.4, kept=True),
    )
    monkeypatch.setattr(tool, "PARTS", parts)
    torch.set_num_threads(1)
    whole = tool.train(options_for(tmp_path / "whole.pt"))
    learn, calls = tool.learn, list[int]()

    def stopped(*arguments: object) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        learn(*arguments)

    options = options_for(tmp_path / "stopped.pt")
    monkeypatch.setattr(tool, "learn", stopped)
    with pytest.raises(KeyboardInterrupt):
        tool.train(options)
    monkeypatch.setattr(tool, "learn", learn)
    again = tool.train(options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_checkpoint_is_for_its_own_recipe(tool: ModuleType, tmp_path: Path) -> None:
    training = tool.start(3, torch.device("cpu"))
    training.recipe = repr((3, 2, tool.PARTS))
    training.save(tmp_path / "c.pt")
    with pytest.raises(SystemExit, match="another recipe, seed or number of processes"):
        tool.train(options_for(tmp_path / "c.pt"))


def test_what_ships_is_what_the_recipe_makes(tool: ModuleType) -> None:
    shipped = load_models(DEFAULT_MODEL)[0].description
    assert shipped.training["steps"] == [part.steps for part in tool.PARTS]
    assert shipped.architecture == tool.ARCHITECTURE


def test_a_part_learns_from_the_people_of_its_rounds(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def patches(seed: tuple[int, int], part: object) -> None:
        seen.append(seed)
        raise StopIteration

    monkeypatch.setattr(tool, "Patches", patches)
    training = tool.start(3, torch.device("cpu"))
    for first_round, step in ((0, 0), (15, tool.ROUND), (40, 3 * tool.ROUND)):
        training.step = step
        with pytest.raises(StopIteration):
            tool.learn(training, tool.Part(steps=1000, rate=1e-3, first_round=first_round), 7, 0)
    assert seen == [(7, 0), (7, 16), (7, 43)]


def test_the_score_is_the_sum_of_the_density(tool: ModuleType) -> None:
    network = tool.start(3, torch.device("cpu")).average.eval()
    tool.set_head(network)
    region = torch.rand(1, 1, 40, 36, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        density = network.detection_map(region)[0, 0]
        assert network(region).item() == pytest.approx(density.sum().item() / tool.MASS, rel=1e-4)
