"""What turns the last feature maps into a score: the paper's dense layers, or the sum of a detection map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LAST_POOLING = 4
"""The paper's last max-pooling (section 2.3)."""

RARE = -6.0
"""Log-odds of a detection before training: EPVS fill few cells, so a map starts near zero."""


class DenseHead(nn.Module):
    """Max-pooling by 4, dense layers with ReLU, one linear unit (section 2.3 of the paper).

    Where fewer than four voxels are left in a direction (three blocks of four convolutions end in one slice),
    the pooling takes what is there (ours; the paper does not say).

    Parameters
    ----------
    channels : int
        Feature maps that come in.
    shape : sequence of int
        Their voxels (x, y, z).
    units : sequence of int
        Width of each dense layer; empty for none.
    """

    def __init__(self, channels: int, shape: Sequence[int], units: Sequence[int]) -> None:
        super().__init__()
        self.kernel = tuple(min(LAST_POOLING, size) for size in shape)
        pooled = [size // kernel for size, kernel in zip(shape, self.kernel, strict=True)]
        width = channels * pooled[0] * pooled[1] * pooled[2]
        layers: list[nn.Module] = []
        for outputs in units:
            layers += [nn.Linear(width, outputs), nn.ReLU(inplace=True)]
            width = outputs
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, x, y, z) features to (N,) scores."""
        pooled = nn.functional.max_pool3d(features, self.kernel)
        score: Tensor = self.layers(pooled.flatten(1)).squeeze(1)
        return score


class SumHead(nn.Module):
    """Detection maps by a 1×1×1 convolution; the score is linear in their sums.

    Parameters
    ----------
    channels : int
        Feature maps that come in.
    maps : int
        Detection maps.
    profile : int
        Knots along inferior–superior between which the weight of a cell is interpolated; 1 for a plain sum.
    """

    def __init__(self, channels: int, *, maps: int, profile: int) -> None:
        super().__init__()
        self.profile = profile
        self.detector = nn.Conv3d(channels, maps, 1)
        self.readout = nn.Linear(maps * profile, 1)
        self.reset()

    def reset(self) -> None:
        """Start with rare detections, each of fifty cells worth one EPVS."""
        nn.init.constant_(self.bias, RARE)
        nn.init.constant_(self.readout.weight, 0.02)
        nn.init.zeros_(self.readout.bias)

    @property
    def bias(self) -> Tensor:
        """Bias of the detector."""
        assert self.detector.bias is not None
        return self.detector.bias

    def logits(self, features: Tensor) -> Tensor:
        """Log-odds of the detection maps, (N, maps, x, y, z)."""
        logits: Tensor = self.detector(features)
        return logits

    def sums(self, detections: Tensor) -> Tensor:
        """Add up detection maps (N, maps, x, y, z) into (N, maps × profile) sums."""
        if detections.dtype in (torch.float16, torch.bfloat16):
            detections = detections.float()
        columns = detections.sum(dim=(2, 3))
        return (columns @ hat_basis(columns.shape[-1], self.profile).to(columns)).flatten(1)

    def forward(self, detections: Tensor) -> Tensor:
        """Map detection maps in [0, 1] to (N,) scores."""
        score: Tensor = self.readout(self.sums(detections)).squeeze(1)
        return score


def hat_basis(cells: int, knots: int) -> Tensor:
    """Weights of linear interpolation between evenly spaced knots.

    Parameters
    ----------
    cells : int
        Positions.
    knots : int
        Knots; the first at the first position, the last at the last.

    Returns
    -------
    Tensor
        (cells, knots), rows that add up to 1.
    """
    if knots == 1:
        return torch.ones(cells, 1)
    position = torch.linspace(0, knots - 1, cells)[:, None]
    return (1 - (position - torch.arange(knots)[None]).abs()).clamp(min=0)
