"""Weights before training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from epvs_bids.network.architecture import RegressionNetwork
from epvs_bids.network.heads import SumHead
from epvs_bids.network.scaling import CONTRAST_GAIN

GAUSSIAN_SD = 0.05
"""Standard deviation of the paper recipe's weights (ours; section 3.1 says "Gaussian" only)."""

SPREAD = 0.02
"""Standard deviation of what is random in the weights of `spots` (ours)."""
SPOT = 0.8
"""Contrast, as `scaling.local_contrast` has it, from which a voxel among its neighbours is a spot (ours)."""
DETECTION_GAIN = 12.0
"""Log-odds that each unit of contrast above `SPOT` adds (ours)."""

Scheme = Literal["gaussian", "spots"]


def initialise(network: RegressionNetwork, scheme: Scheme, *, seed: int) -> None:
    """Draw the weights of a network, in place.

    Parameters
    ----------
    network : RegressionNetwork
        On any device.
    scheme : {"gaussian", "spots"}
        ``gaussian``: weights N(0, 0.05²), biases 0, as the paper. ``spots``: the first layer looks for voxels
        brighter than those around them, which EPVS are, later ones pass that on, all with a little noise; a
        sum head adds up what stands out. One count a scan says too little to find that from random weights
        (docs/training.md).
    seed : int
        The same seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            spread = GAUSSIAN_SD if scheme == "gaussian" else SPREAD
            weight = torch.empty(layer.weight.shape)
            nn.init.normal_(weight, std=spread, generator=generator)
            with torch.no_grad():
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.zero_()
    if isinstance(network.head, SumHead):
        network.head.reset()
    if scheme == "spots":
        _look_for_spots(network)


@torch.no_grad()
def _look_for_spots(network: RegressionNetwork) -> None:
    """Add the detector of bright spots to weights that are noise."""
    unit = 1.0 if network.architecture.scaling == "local" else 1 / CONTRAST_GAIN
    layers = [layer for layer in network.blocks.modules() if isinstance(layer, nn.Conv3d)]
    assert layers[0].bias is not None
    layers[0].weight -= 1 / 27
    layers[0].weight[:, :, 1, 1, 1] += 1
    layers[0].bias.fill_(-SPOT * unit)
    for layer in layers[1:]:
        for channel in range(layer.out_channels):
            layer.weight[channel, channel % layer.in_channels, 1, 1, 1] += 1
    if isinstance(network.head, SumHead):
        detector = network.head.detector.weight
        detector.fill_(DETECTION_GAIN / unit / detector.shape[1])


def start_at_mean(network: RegressionNetwork, regions: Iterable[Tensor], mean: float) -> None:
    """Scale a sum head, in place, so that a network that knows nothing yet says `mean` on average.

    The first steps then go into telling scans apart, not into finding the scale. Does nothing for a dense
    head.

    Parameters
    ----------
    network : RegressionNetwork
        Initialised, on the device of the regions.
    regions : iterable of Tensor
        (1, 1, X, Y, Z) each; a few are enough.
    mean : float
        Mean visual score, in EPVS.
    """
    if not isinstance(network.head, SumHead):
        return
    network.train()
    with torch.no_grad():
        scores = torch.cat([network(region.float()) for region in regions])
        if scores.mean() > 0:
            network.head.readout.weight.mul_(mean / scores.mean())
