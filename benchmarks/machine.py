"""The machine: what it is, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

SIZE = 3072
"""Rows of the square matrices whose product gives the rate."""


def threads() -> int:
    """Return the cores that this process may use: all measurements use as many threads."""
    return len(os.sched_getaffinity(0))


def describe() -> str:
    """Describe processor, memory and the versions of what computes, in one sentence."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown processor",
    )
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    vectors = next((name for name in ("avx512f", "avx2", "avx") if f" {name} " in f"{flags} "), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    used = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "numpy", "itk-elastix", "SimpleITK", "scipy")
    )
    return (
        f"{threads()} cores of {model} ({vectors or 'no vector flags'}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {used}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def matrix_product(threads: int, library: str) -> Callable[[], None]:
    """Multiply float32 matrices of `SIZE` rows, with numpy's or torch's library."""
    import numpy as np

    generator = np.random.default_rng(0)
    left, right = (generator.random((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
        a, b = torch.from_numpy(left), torch.from_numpy(right)
        out = torch.empty(SIZE, SIZE)
        return lambda: _nothing(torch.mm(a, b, out=out))
    target = np.empty((SIZE, SIZE), dtype=np.float32)
    return lambda: _nothing(np.matmul(left, right, out=target))


def _nothing(_: object) -> None:
    """Drop a result."""


def rate(seconds: float) -> float:
    """Return the operations a second of one product that took so long."""
    return 2 * SIZE**3 / seconds
