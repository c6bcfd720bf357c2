"""The loop: it learns, stops, survives being killed, and can be divided over processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from epvs_bids.errors import BadDataError
from epvs_bids.network import training
from epvs_bids.network.architecture import Architecture, RegressionNetwork, build_network
from epvs_bids.network.augmentation import Augmentation
from epvs_bids.network.data import RegionStore
from epvs_bids.network.distributed import Workers
from epvs_bids.network.initialisation import initialise
from epvs_bids.network.options import PAPER, TrainingOptions
from epvs_bids.network.training import Task, Trained, epoch_order, learning_rate, train

TINY = Architecture(features=2, blocks=1, convolutions=1, dense=(4,))
OPTIONS = replace(PAPER, architecture=TINY, max_epochs=3, seed=5)


def run(
    spotted: tuple[RegionStore, np.ndarray],
    directory: Path,
    options: TrainingOptions = OPTIONS,
    **more: object,
) -> Trained:
    store, scores = spotted
    network = build_network(options.architecture, store.shape)
    initialise(network, options.initialisation, seed=options.seed)
    task = Task(store=store, scores=scores, train=np.arange(7), validation=np.arange(16, 24))
    return train(network, task, options, directory, device=torch.device("cpu"), workers=Workers(), **more)


def same(one: RegressionNetwork, other: RegressionNetwork) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def test_a_counting_network_learns_spots(spotted: tuple[RegionStore, np.ndarray], tmp_path: Path) -> None:
    store, scores = spotted
    options = TrainingOptions(
        architecture=Architecture(channels=((4,),), head="sum", scaling="local"),
        initialisation="spots",
        optimiser="adamw",
        learning_rate=0.03,
        schedule="cosine",
        augmentation=Augmentation(rotation=0.0, translation=0.0),
        max_epochs=12,
    )
    network = build_network(options.architecture, store.shape)
    initialise(network, "spots", seed=1)
    task = Task(store=store, scores=scores, train=np.arange(16), validation=np.arange(16, 24))
    trained = train(network, task, options, tmp_path, device=torch.device("cpu"), workers=Workers())
    losses = [row[1] for row in trained.state.history]
    assert losses[-1] < 0.3 * losses[0]
    assert trained.state.history[trained.state.best_epoch - 1][3] > 0.9
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,training_loss,validation_loss,validation_icc")
    assert len(lines) == 13
    assert list((tmp_path / "tensorboard").iterdir())


def test_resumed_is_uninterrupted(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(spotted, tmp_path / "whole")
    backward = training._backward

    def interrupted(state: training._Run, epoch: int, position: int, scan: int) -> float:
        if (epoch, position) == (2, 3):
            raise KeyboardInterrupt
        return backward(state, epoch, position, scan)

    monkeypatch.setattr(training, "_backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(spotted, tmp_path / "broken")
    monkeypatch.undo()
    resumed = run(spotted, tmp_path / "broken", resume=True)
    assert same(whole.network, resumed.network)
    assert [row[:4] for row in whole.state.history] == [row[:4] for row in resumed.state.history]
    again = run(spotted, tmp_path / "broken", resume=True)
    assert same(whole.network, again.network)


@pytest.mark.fault(
    "`--resume` with a checkpoint of another version",
    says="is a checkpoint of another version of the app",
    code=65,
    keeps="the checkpoint",
)
def test_a_checkpoint_of_another_version_is_refused(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run(spotted, tmp_path, replace(OPTIONS, max_epochs=1))
    path = tmp_path / "checkpoint.pt"
    sound = torch.load(path, weights_only=True)
    mark = request.node.get_closest_marker("fault")
    torch.save(sound | {"format": 99}, path)
    with pytest.raises(BadDataError, match=mark.kwargs["says"]) as caught:
        run(spotted, tmp_path, replace(OPTIONS, max_epochs=1), resume=True)
    assert caught.value.exit_code == mark.kwargs["code"]
    torch.save(sound | {"state": sound["state"] | {"momentum": 1}}, path)
    with pytest.raises(BadDataError, match="remove it to start again"):
        run(spotted, tmp_path, replace(OPTIONS, max_epochs=1), resume=True)


@pytest.mark.fault(
    "`--resume` with other options, or a damaged checkpoint",
    says="the same options to resume",
    code=65,
    keeps="the checkpoint",
)
def test_a_checkpoint_of_other_options_is_refused_by_name(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path
) -> None:
    run(spotted, tmp_path, replace(OPTIONS, max_epochs=1))
    with pytest.raises(BadDataError, match="loss = 'mse', this one has 'mce'"):
        run(spotted, tmp_path, replace(OPTIONS, max_epochs=1, loss="mce"), resume=True)
    with pytest.raises(BadDataError, match="scores = ") as refused:
        run((spotted[0], spotted[1] + 1), tmp_path, replace(OPTIONS, max_epochs=1), resume=True)
    assert len(str(refused.value)) < 600
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(BadDataError, match="remove it to start again"):
        run(spotted, tmp_path, replace(OPTIONS, max_epochs=1), resume=True)


@pytest.mark.fault(
    "A loss that is no longer a number", says="", code=0, keeps="the weights of the best epoch before"
)
def test_a_loss_that_is_no_number_keeps_the_last_good_weights(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = run(spotted, tmp_path / "good", replace(OPTIONS, max_epochs=1))
    backward = training._backward

    def broken(state: training._Run, epoch: int, position: int, scan: int) -> float:
        loss = backward(state, epoch, position, scan)
        return float("nan") if (epoch, position) == (2, 1) else loss

    monkeypatch.setattr(training, "_backward", broken)
    stopped = run(spotted, tmp_path / "bad")
    assert "not a number in epoch 2" in stopped.state.stopped
    assert same(stopped.network, good.network)


def test_patience_ends_training(spotted: tuple[RegionStore, np.ndarray], tmp_path: Path) -> None:
    still = replace(OPTIONS, learning_rate=0.0, max_epochs=50, patience=2)
    trained = run(spotted, tmp_path, still)
    assert trained.state.epoch == 3
    assert trained.state.best_epoch == 1
    assert "has not fallen for 2 epochs" in trained.state.stopped


def test_epochs_show_every_scan_and_fill_up_the_last_step() -> None:
    order = epoch_order(7, seed=1, epoch=1, step=2)
    assert len(order) == 8
    assert set(order) == set(range(7))
    assert order != epoch_order(7, seed=1, epoch=2, step=2)


def test_cosine_schedule_rises_and_falls() -> None:
    options = replace(OPTIONS, schedule="cosine", learning_rate=0.1, max_epochs=40)
    rates = [learning_rate(options, epoch) for epoch in range(1, 41)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] < 0.06
    assert rates[-1] < 0.001
    assert learning_rate(OPTIONS, 17) == OPTIONS.learning_rate


SCRIPT = """
import sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
from epvs_bids.network import training
from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.data import RegionStore
from epvs_bids.network.distributed import workers
from epvs_bids.network.initialisation import initialise
from epvs_bids.network.options import PAPER
torch.set_num_threads(1)
store, folder, scans, pause = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
architecture = Architecture(features=2, blocks=1, convolutions=1, dense=(4,))
options = replace(PAPER, architecture=architecture, max_epochs=3, seed=5, scans_per_step=scans)
store = RegionStore(store, (24, 20, 18, 16), sha256="spotted")
network = build_network(architecture, store.shape)
initialise(network, "gaussian", seed=5)
task = training.Task(
    store=store, scores=np.load(sys.argv[5]), train=np.arange(7), validation=np.arange(16, 24)
)
backward = training._backward
def slow(*given):
    time.sleep(pause)
    return backward(*given)
training._backward = slow
with workers() as together:
    trained = training.train(
        network, task, options, folder, device=torch.device("cpu"), workers=together, resume=True
    )
    if together.leads:
        torch.save(trained.network.state_dict(), folder / "weights.pt")
"""


def command(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path, folder: str, *, scans: int = 1, pause: float = 0
) -> list[str]:
    script, scores = tmp_path / "script.py", tmp_path / "scores.npy"
    script.write_text(SCRIPT)
    np.save(scores, spotted[1])
    (tmp_path / folder).mkdir(exist_ok=True)
    return [str(script), str(spotted[0].path), str(tmp_path / folder), str(scans), str(pause), str(scores)]


def test_killed_and_resumed_gives_the_same_weights(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path
) -> None:
    whole = run(spotted, tmp_path / "whole").network.state_dict()
    slow = command(spotted, tmp_path, "killed", pause=0.3)
    process = subprocess.Popen([sys.executable, *slow])
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.pt").exists()
    subprocess.run([sys.executable, *command(spotted, tmp_path, "killed")], check=True, timeout=180)
    resumed = torch.load(tmp_path / "killed" / "weights.pt", weights_only=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_two_processes_equal_one_that_accumulates_two_scans(
    spotted: tuple[RegionStore, np.ndarray], tmp_path: Path
) -> None:
    one = run(spotted, tmp_path / "one", replace(OPTIONS, scans_per_step=2)).network.state_dict()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, *command(spotted, tmp_path, "two")], check=True, timeout=180)
    two = torch.load(tmp_path / "two" / "weights.pt", weights_only=True)
    for name, weight in one.items():
        torch.testing.assert_close(weight, two[name], rtol=1e-5, atol=1e-7)
