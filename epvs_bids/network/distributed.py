"""Several processes that train one network: `torchrun` starts them, gradients are averaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from epvs_bids.errors import UsageError


@dataclass(frozen=True)
class Workers:
    """Which process this is (`rank`, from 0) of how many (`count`)."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, values: Tensor) -> Tensor:
        """Add up a tensor over all processes; each has the sum."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def workers() -> Iterator[Workers]:
    """Join the processes that `torchrun` started; alone where there is no `torchrun`."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers()
        return
    joined_here = not dist.is_initialized()
    if joined_here:
        # Both where there are GPUs: `--device cpu` needs gloo there too.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Workers(dist.get_rank(), count)
    finally:
        if joined_here:
            dist.destroy_process_group()


def worker_device(device: torch.device) -> torch.device:
    """Give each process of a machine a GPU of its own.

    Raises
    ------
    UsageError
        `torchrun` started more processes than there are GPUs.
    """
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if rank >= gpus:
            raise UsageError(
                f"torchrun started more processes than there are GPUs here ({gpus}). "
                f"Give it --nproc-per-node {gpus}."
            )
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    return device
