"""Where networks compute: choices, refusals of a GPU, and, where there is one, the GPU itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from epvs_bids.errors import MissingInputError, TryAgainError, UsageError
from epvs_bids.network import training
from epvs_bids.network.architecture import PAPER_INPUT, Architecture, build_network
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, ModelDescription, load_models
from epvs_bids.network.data import RegionStore
from epvs_bids.network.device import choose_device, refusal, run_on
from epvs_bids.network.distributed import Workers, worker_device
from epvs_bids.network.inference import score
from epvs_bids.network.initialisation import initialise
from epvs_bids.network.options import PAPER, TrainingOptions
from epvs_bids.network.saliency import saliency
from epvs_bids.network.training import Task, train

Spotted = tuple[RegionStore, np.ndarray]
OPTIONS = replace(
    PAPER, architecture=Architecture(features=2, blocks=1, convolutions=1, dense=(4,)), max_epochs=2
)
CUDA = torch.device("cuda")

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture
def full_gpu() -> Iterator[None]:
    """A GPU of which this process may have next to nothing."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(3e7 / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def learn(
    spotted: Spotted, folder: Path, device: torch.device, options: TrainingOptions = OPTIONS
) -> training.Trained:
    store, scores = spotted
    network = build_network(options.architecture, store.shape)
    initialise(network, options.initialisation, seed=1)
    task = Task(store=store, scores=scores, train=np.arange(16), validation=np.arange(16, 24))
    return train(network, task, options, folder, device=device, workers=Workers())


@pytest.fixture(scope="module")
def region() -> np.ndarray:
    """Dim noise with bright spots, of the paper's shape."""
    rng = np.random.default_rng(3)
    roi = rng.uniform(0.2, 0.4, PAPER_INPUT).astype(np.float32)
    for x, y, z in rng.integers(20, 60, (30, 3)):
        roi[x : x + 3, y : y + 3, z : z + 6] = 0.9
    return roi


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_where_there_is_none_is_an_error() -> None:
    assert choose_device("auto").type == "cpu"
    with pytest.raises(MissingInputError, match="no GPU"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "no memory left"),
        (RuntimeError("CUDA error: out of memory\nCompile with …"), "no memory left"),
        (RuntimeError("CUDA error: no kernel image is available for execution"), r"PyTorch \(CUDA error: no"),
        (RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"), "busy"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "CUDNN_STATUS"),
    ],
)
def test_what_a_gpu_refuses_the_cpu_does(
    error: RuntimeError, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work(device: torch.device) -> str:
        if device.type == "cuda":
            raise error
        return device.type

    with caplog.at_level(logging.WARNING):
        assert run_on(CUDA, work) == "cpu"
    assert len(caplog.records) == 1
    assert re.search(says + r".*the CPU takes over", caplog.text)


def test_an_error_of_ours_is_no_refusal() -> None:
    mistake = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert refusal(mistake) == ""

    def work(device: torch.device) -> str:
        raise mistake

    with pytest.raises(RuntimeError, match="mat1"):
        run_on(CUDA, work)


def test_training_on_a_gpu_without_memory_ends_with_a_remedy(
    spotted: Spotted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_run: training._Run, _epoch: int) -> float:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(training, "_train_epoch", full)
    with pytest.raises(TryAgainError, match=r"no memory left.*--device cpu; --resume"):
        learn(spotted, tmp_path, torch.device("cpu"))


def test_more_processes_than_gpus_is_an_error_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="--nproc-per-node 2"):
        worker_device(CUDA)


@gpu
@pytest.mark.parametrize("name", ["default", "paper"])
def test_scores_of_a_gpu_are_those_of_the_cpu(name: str, region: np.ndarray) -> None:
    models = load_models(DEFAULT_MODEL)
    if name == "paper":
        network = build_network(PAPER.architecture)
        initialise(network, PAPER.initialisation, seed=1)
        description = ModelDescription(
            architecture=PAPER.architecture, input_shape=PAPER_INPUT, preprocessing={}
        )
        models = [LoadedModel(network.eval(), description, "untrained")]
    expected = score(region, models, device="cpu").score
    first = score(region, models, device="cuda").score
    assert first == pytest.approx(expected, rel=1e-4)
    assert score(region, models, device="cuda").score == first


@gpu
@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_maps_of_a_gpu_look_like_those_of_the_cpu(method: str, region: np.ndarray) -> None:
    network = load_models(DEFAULT_MODEL)[0].network
    of_cpu = saliency(network, region, method, device="cpu")  # type: ignore[arg-type]
    of_gpu = saliency(network, region, method, device="cuda")  # type: ignore[arg-type]
    least = 0.9999 if method == "gradient" else 0.8  # another generator draws SmoothGrad's noise
    assert np.corrcoef(of_cpu.ravel(), of_gpu.ravel())[0, 1] > least


@gpu
@pytest.mark.usefixtures("full_gpu")
def test_a_full_gpu_leaves_the_region_to_the_cpu(
    region: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    models = load_models(DEFAULT_MODEL)
    with caplog.at_level(logging.WARNING):
        assert score(region, models, device="cuda").score == score(region, models, device="cpu").score
    assert "no memory left" in caplog.text


@gpu
def test_training_on_a_gpu_learns_what_training_on_the_cpu_does(spotted: Spotted, tmp_path: Path) -> None:
    options = replace(OPTIONS, max_epochs=20)
    of_cpu = learn(spotted, tmp_path / "cpu", torch.device("cpu"), options).state.history
    of_gpu = learn(spotted, tmp_path / "gpu", CUDA, options).state.history
    assert of_gpu[-1][1] == pytest.approx(of_cpu[-1][1], rel=0.2)
    assert of_gpu[-1][1] < 0.7 * of_gpu[0][1]


@gpu
@pytest.mark.usefixtures("full_gpu")
def test_training_on_a_full_gpu_ends_with_a_remedy(spotted: Spotted, tmp_path: Path) -> None:
    wide = replace(OPTIONS, architecture=replace(OPTIONS.architecture, features=2048))
    with pytest.raises(TryAgainError, match="no memory left"):
        learn(spotted, tmp_path, CUDA, wide)
