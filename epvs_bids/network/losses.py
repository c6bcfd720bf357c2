"""Losses of Table 3, each a mean over scans of a function of the error e = score - count."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TUKEY_CUT = 4.685
"""Error (EPVS) beyond which Tukey's biweight is flat: 95 % efficiency for errors of unit variance (ours)."""


def mean_squared(error: Tensor) -> Tensor:
    """Return the mean of e² (MSE), the paper's loss."""
    return error.square().mean()


def mean_cubic(error: Tensor) -> Tensor:
    """Return the mean of |e|³ (MCE)."""
    return error.abs().pow(3).mean()


def mean_quartic(error: Tensor) -> Tensor:
    """Return the mean of e⁴ (MQE)."""
    return error.pow(4).mean()


def tukey(error: Tensor) -> Tensor:
    """Return the mean of Tukey's biweight, c²/6 · (1 - (1 - (e/c)²)³) within ±c, and c²/6 beyond."""
    inside = (1 - (error / TUKEY_CUT).square()).clamp(min=0)
    return (TUKEY_CUT**2 / 6 * (1 - inside.pow(3))).mean()


def root_mean_squared(error: Tensor) -> Tensor:
    """Return √(mean of e²) (RMSE); for the paper's one scan a step it is |e|."""
    # The tiny number keeps the derivative finite where the error is zero.
    return torch.sqrt(error.square().mean() + 1e-12)


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mse": mean_squared,
    "mce": mean_cubic,
    "mqe": mean_quartic,
    "tukey": tukey,
    "rmse": root_mean_squared,
}
"""By the names that `--loss` takes."""
