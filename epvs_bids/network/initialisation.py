"""Weights before training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from epvs_bids.network.architecture import RegressionNetwork
from epvs_bids.network.heads import SumHead

GAUSSIAN_SD = 0.05
"""Standard deviation of the paper recipe's weights (ours; section 3.1 says "Gaussian" only)."""

Scheme = Literal["gaussian", "he"]


def initialise(network: RegressionNetwork, scheme: Scheme, *, seed: int) -> None:
    """Draw the weights of a network, in place; biases are zero.

    Parameters
    ----------
    network : RegressionNetwork
        On any device.
    scheme : {"gaussian", "he"}
        ``gaussian``: N(0, 0.05²) everywhere, as the paper. ``he``: He et al. 2015, which keeps the variance
        of the activations from layer to layer.
    seed : int
        The same seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            weight = torch.empty(layer.weight.shape)
            if scheme == "gaussian":
                nn.init.normal_(weight, std=GAUSSIAN_SD, generator=generator)
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.zero_()
    if isinstance(network.head, SumHead):
        network.head.reset()


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
