"""Which device computes, with which precision, and what happens when a GPU refuses."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch

from epvs_bids.errors import MissingInputError

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
_Result = TypeVar("_Result")


def choose_device(device: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Raises
    ------
    MissingInputError
        ``cuda`` where torch sees no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingInputError("--device cuda: torch sees no GPU here. Use --device cpu, or auto.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def run_on(device: torch.device, work: Callable[[torch.device], _Result]) -> _Result:
    """Compute on a device; on the CPU, with a warning, where a GPU has no memory or does not work.

    A GPU that is too old for this torch, or that another process has to itself, refuses as one without memory
    does: each is no reason to leave a scan without its score.

    Parameters
    ----------
    device
        Where to try first.
    work
        Takes the device that it is to compute on; called a second time after a failure.
    """
    if device.type != "cuda":
        return work(device)
    try:
        with full_precision(), warnings.catch_warnings():
            # Autograd's own thread makes its context as it goes along, and torch warns each time.
            warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")
            return work(device)
    except RuntimeError as error:  # torch.cuda.OutOfMemoryError is one, and so is all else that CUDA reports
        reason = refusal(error)
        if not reason:
            raise
    logger.warning("%s; the CPU takes over, which is slower.", reason)
    return work(torch.device("cpu"))


def refusal(error: RuntimeError) -> str:
    """Say in words why a GPU did not compute; empty where the error has to do with something else."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in first_line:
        return "The GPU has no memory left for the network"
    if any(word in first_line for word in ("CUDA", "cuDNN", "CUBLAS", "cuBLAS")):
        return f"The GPU does not work with this PyTorch ({first_line})"
    return ""


@contextmanager
def full_precision() -> Iterator[None]:
    """Let convolutions on a GPU compute in float32 proper, and alike each time.

    By default cuDNN rounds what it multiplies to 10 bits (TF32), which moves a score by a thousandth.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
