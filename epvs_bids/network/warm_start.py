"""Starting from another model's weights: what fits is read, what does not is said."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from epvs_bids.network.architecture import ConvolutionLayer, RegressionNetwork


@dataclass(frozen=True)
class WarmStart:
    """What `warm_start` did, by the names of tensors.

    Parameters
    ----------
    read : tuple of str
        Copied whole.
    partial : tuple of str
        Copied into the first channels of a wider layer.
    left : tuple of str
        Of the new network, not in the old one or of a shape that does not fit: as they were initialised.
    """

    read: tuple[str, ...]
    partial: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"read {len(self.read)} tensors"]
        if self.partial:
            parts.append(f"into the first channels of {', '.join(self.partial)}")
        if self.left:
            parts.append(f"left as initialised: {', '.join(self.left)}")
        return "; ".join(parts)


def warm_start(network: RegressionNetwork, source: RegressionNetwork) -> WarmStart:
    """Copy weights from `source` into `network`, in place.

    Where the new network has no batch normalisation, the old one's is folded into its convolutions first, so
    that features stay what they were. Convolutions that became wider keep the old features in their first
    channels; weights from the new channels to the old ones are set to zero.

    Parameters
    ----------
    network : RegressionNetwork
        Initialised already.
    source : RegressionNetwork
        The model to start from.
    """
    source = copy.deepcopy(source).eval()
    if network.architecture.normalisation == "none":
        for layer in source.modules():
            if isinstance(layer, ConvolutionLayer):
                layer.fold()
    old, new = source.state_dict(), network.state_dict()
    read, partial, left = [], [], []
    for name, tensor in new.items():
        given = old.get(name)
        if given is None or given.dim() != tensor.dim():
            left.append(name)
        elif given.shape == tensor.shape:
            tensor.copy_(given)
            read.append(name)
        elif name.startswith("blocks.") and all(
            small <= large for small, large in zip(given.shape, tensor.shape, strict=True)
        ):
            _copy_into_first(tensor, given)
            partial.append(name)
        else:
            left.append(name)
    network.load_state_dict(new)
    return WarmStart(tuple(read), tuple(partial), tuple(left))


def _copy_into_first(tensor: Tensor, given: Tensor) -> None:
    """Copy a smaller tensor into the first channels of a larger one."""
    with torch.no_grad():
        outputs = given.shape[0]
        if tensor.dim() > 1:
            tensor[:outputs, given.shape[1] :] = 0
            tensor[:outputs, : given.shape[1]] = given
        else:
            tensor[:outputs] = given
