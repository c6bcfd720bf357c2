"""Faults of a GPU: the CPU takes over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from epvs_bids.network import inference
from epvs_bids.network.checkpoint import load_models


def score_where_a_gpu_refuses(
    model: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> tuple[float, float]:
    """Score a region on the CPU, and on a GPU whose every call ends in an error."""
    models = load_models(model)
    region = np.random.default_rng(1).random((168, 128, 84), dtype=np.float32)
    expected = inference.score(region, models, device="cpu").score
    forward = inference._forward

    def refuse(network: torch.nn.Module, roi: torch.Tensor, device: torch.device) -> float:
        if device.type == "cuda":
            raise error
        return forward(network, roi, device)

    monkeypatch.setattr(inference, "_forward", refuse)
    monkeypatch.setattr(inference, "choose_device", lambda _: torch.device("cuda"))
    return expected, inference.score(region, models).score


@pytest.mark.fault(
    "The GPU has no memory left", says="The GPU has no memory", code=0, keeps="the score, made on the CPU"
)
def test_gpu_without_memory(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mark: pytest.Mark
) -> None:
    expected, found = score_where_a_gpu_refuses(model, torch.cuda.OutOfMemoryError(), monkeypatch)
    assert found == expected
    assert mark.kwargs["says"] in caplog.text


@pytest.mark.fault(
    "A GPU that is too old for the installed PyTorch, or that another process has to itself",
    says="The GPU does not work with this PyTorch",
    code=0,
    keeps="the score, made on the CPU",
)
@pytest.mark.parametrize(
    "reason",
    ["no kernel image is available for execution on the device", "CUDA-capable device(s) is/are busy"],
)
def test_gpu_that_refuses(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mark: pytest.Mark,
    reason: str,
) -> None:
    error = RuntimeError(f"CUDA error: {reason}")
    expected, found = score_where_a_gpu_refuses(model, error, monkeypatch)
    assert found == expected
    assert mark.kwargs["says"] in caplog.text
    assert reason in caplog.text
