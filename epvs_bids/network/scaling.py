"""Scaling of a region's intensities, as the first layer of a network: robust, or local contrast."""

from __future__ import annotations

import torch
from torch import Tensor

CEILING = 4.0
"""Intensities are cut at this many times that of the tissue (CSF on T2 is at two to four times)."""
TISSUE = 0.5
"""Of a scaled region, what is above this is tissue; the mask's soft border is below."""
NEIGHBOURHOOD = 9
"""Edge in voxels of the cube that a voxel is compared with: wider than any EPVS, narrower than a nucleus."""
CONTRAST_GAIN = 5.0
"""Brings the contrast of an EPVS (0.2 and more) to about 1, where networks learn best."""


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


def local_contrast(scaled: Tensor) -> Tensor:
    """Contrast of each voxel to the mean tissue in the cube around it, times `CONTRAST_GAIN`.

    Bias fields, differences between nuclei and the border of the mask all but vanish; spots and edges stay.

    Parameters
    ----------
    scaled : Tensor
        (N, 1, X, Y, Z) of `robust_scale`.

    Returns
    -------
    Tensor
        Same shape; zero outside the tissue.
    """
    with torch.no_grad():
        tissue = (scaled > TISSUE).to(scaled.dtype)
        mean = _box_mean(scaled * tissue) / _box_mean(tissue).clamp(min=1e-6)
        return torch.where(tissue > 0, CONTRAST_GAIN * (scaled / mean.clamp(min=TISSUE) - 1), 0)


def _box_mean(volumes: Tensor) -> Tensor:
    """Mean over a cube of `NEIGHBOURHOOD` voxels, zeros outside the volume; one axis after the other."""
    volumes = torch.nn.functional.pad(volumes, (NEIGHBOURHOOD // 2,) * 6)
    for axis in range(3):
        kernel = [NEIGHBOURHOOD if axis == other else 1 for other in range(3)]
        volumes = torch.nn.functional.avg_pool3d(volumes, kernel, stride=1)
    return volumes
