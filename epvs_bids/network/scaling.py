"""Robust scaling of a region's intensities, as the first layer of a network."""

from __future__ import annotations

import torch
from torch import Tensor

CEILING = 4.0
"""Intensities are cut at this many times that of the tissue (CSF on T2 is at two to four times)."""


def tissue_level(region: Tensor) -> Tensor:
    """Typical intensity of the tissue inside one smooth region.

    The mask's soft border is left out in two steps, both of which scale with the image: the third quartile of
    the positive voxels, then the median of those above half of it. A few hot voxels do not move it.

    Parameters
    ----------
    region : Tensor
        Any shape, zero outside the mask.

    Returns
    -------
    Tensor
        A scalar, 1 where nothing is positive.
    """
    positive = region[region > 0].float()
    if positive.numel() == 0:
        return region.new_ones((), dtype=torch.float32)
    quartile = positive.kthvalue(max(1, round(0.75 * positive.numel()))).values
    return positive[positive > 0.5 * quartile].median()


def robust_scale(regions: Tensor) -> Tensor:
    """Divide each region by its tissue's intensity and cut at `CEILING`.

    Parameters
    ----------
    regions : Tensor
        (N, 1, X, Y, Z), zero outside the mask, any positive unit.

    Returns
    -------
    Tensor
        Same shape; tissue at about 1.
    """
    with torch.no_grad():
        levels = torch.stack([tissue_level(region) for region in regions])
    return (regions / levels.to(regions.dtype)[:, None, None, None, None]).clamp(max=CEILING)
