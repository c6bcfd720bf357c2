"""Memory of training: how much it takes, and how the C library hands it out."""

from __future__ import annotations

import ctypes
import logging

import torch

from epvs_bids.network.architecture import RegressionNetwork

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt (malloc.h)."""


def reuse_large_blocks() -> None:
    """Let glibc keep large freed blocks instead of giving them back to the system at once.

    Feature maps are blocks of hundreds of megabytes; by default each is mapped anew, and the kernel clears
    its pages each time: a sixth of a training step of the paper's network, and of scoring a region. Does
    nothing without mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_MMAP_MAX, 0)


def training_bytes(network: RegressionNetwork) -> int:
    """Estimate the memory of one training step: weights, gradients, optimiser, and the feature maps kept.

    The paper's network takes 1.6 GB by it, which fits the paper's 8 GB without activation checkpointing.
    """
    weights = 4 * 4 * sum(weight.numel() for weight in network.parameters())
    architecture = network.architecture
    copies = 2 if architecture.normalisation == "batch" else 1
    shape = [float(size // architecture.pooling) for size in network.input_shape]
    if architecture.head == "sum":
        shape = [size + 2 * architecture.margin for size in shape]
    maps = 0.0
    for level, stage in enumerate(architecture.stages):
        shape = [size / 2 if level else size for size in shape]
        for channels, dilation in zip(stage, architecture.stage_dilations[level], strict=True):
            shape = [size - 2 * dilation for size in shape]
            maps += copies * channels * shape[0] * shape[1] * shape[2]
    return int(weights + 4 * maps)


def use_checkpointing_where_needed(network: RegressionNetwork, device: torch.device) -> None:
    """Recompute feature maps in the backward pass where the GPU could not hold them all."""
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    network.checkpointing = training_bytes(network) > 0.8 * free
    if network.checkpointing:
        logger.info("Activation checkpointing is on: the GPU has %.1f GB free.", free / 1e9)
