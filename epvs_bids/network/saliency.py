"""Where in the region a score comes from: gradient (paper, section 3.2), SmoothGrad, occlusion.

Maps have the shape of the region and the units *score per unit of intensity* (gradient, SmoothGrad) or
*score* (occlusion: what a block takes away when it is covered). Show the absolute value of the first two, as
Simonyan et al. 2013 do: an EPVS is bright in its middle, where more signal raises the score, and dark around
it, where more signal lowers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from epvs_bids.errors import UsageError
from epvs_bids.network.device import run_on

Method = Literal["gradient", "smoothgrad", "occlusion"]

SAMPLES = 8
"""Noisy copies that SmoothGrad averages over (the gain levels off early; each costs one gradient)."""

NOISE = 0.05
"""Standard deviation of SmoothGrad's noise, as a share of the region's intensity range.

Smilkov et al. 2017 use 0.1 to 0.2 on photographs, which would drown EPVS of two voxels' width (ours)."""

BLOCK = 10
"""Edge of an occluding block in voxels: 5 mm, so that a block covers one or two EPVS (ours)."""

HALF = 0.5
"""Occlusion is tried where the smooth mask is above half of its height: outside, little is left to cover."""


def saliency(
    model: nn.Module | Sequence[nn.Module],
    roi: NDArray[np.float32],
    method: Method = "gradient",
    *,
    mask: NDArray[np.float32] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> NDArray[np.float32]:
    """Compute a saliency map of one region.

    Parameters
    ----------
    model
        Network that maps (N, 1, X, Y, Z) to (N,) scores, or several, whose maps are averaged.
    roi
        Region that the network sees, (X, Y, Z), in [0, 1], zero outside the mask.
    method
        `gradient`: derivative of the score by the input (Simonyan et al. 2013, arXiv:1312.6034; section 3.2
        of the paper). `smoothgrad`: its mean over copies with noise inside the mask (Smilkov et al. 2017,
        arXiv:1706.03825). `occlusion`: how much the score falls when a block is covered with the mean
        intensity of the region (Zeiler & Fergus 2014, arXiv:1311.2901; section 3.3 of the paper).
    mask
        Smooth mask in [0, 1], same shape. With it, derivatives are by the scan and not by the region: the
        region is scan × mask / constant, so that by the chain rule the map is multiplied by the mask. A
        network's derivative is large in the empty rim too, where no scan has any influence.
    device
        `cpu` or `cuda`; where the GPU refuses, the CPU takes over with a warning.
    seed
        Seed of SmoothGrad's noise.

    Returns
    -------
    map
        float32, shape of `roi`; signed.

    Raises
    ------
    UsageError
        An unknown method.
    """
    if method not in get_args(Method):
        raise UsageError(f"Unknown saliency method {method!r}: {', '.join(get_args(Method))}.")
    networks = [model] if isinstance(model, nn.Module) else list(model)
    region = torch.from_numpy(np.ascontiguousarray(roi, dtype=np.float32))[None, None]
    where = region > 0 if mask is None else torch.from_numpy(mask > HALF)[None, None]
    result = run_on(torch.device(device), lambda on: _mean_map(networks, region, where, method, seed, on))
    return result * mask if mask is not None and method != "occlusion" else result


def _mean_map(  # noqa: PLR0917
    networks: Sequence[nn.Module],
    region: Tensor,
    inside: Tensor,
    method: Method,
    seed: int,
    device: torch.device,
) -> NDArray[np.float32]:
    """Average the maps of the networks, made on a device."""
    given, where = region.to(device), inside.to(device)
    total = torch.zeros_like(given)
    for network in networks:
        network.eval().to(device)
        if method == "gradient":
            total += _gradient(network, given)
        elif method == "smoothgrad":
            total += _smoothgrad(network, given, seed)
        else:
            total += _occlusion(network, given, where)
    result: NDArray[np.float32] = (total / len(networks))[0, 0].cpu().numpy()
    return result


def _gradient(network: nn.Module, region: Tensor) -> Tensor:
    """Differentiate the score by each voxel."""
    leaf = region.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf)
    return gradient


def _smoothgrad(network: nn.Module, region: Tensor, seed: int) -> Tensor:
    """Average the gradient over `SAMPLES` noisy copies; no noise where regions are zero."""
    from captum.attr import NoiseTunnel, Saliency

    inside = (region > 0).to(region.dtype)
    noise = NOISE * float(region.max() - region.min())
    tunnel = NoiseTunnel(Saliency(lambda noisy: network(noisy * inside)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mean: Tensor = tunnel.attribute(
            region.clone().requires_grad_(),
            nt_type="smoothgrad",
            nt_samples=SAMPLES,
            nt_samples_batch_size=1,
            stdevs=noise,
            abs=False,
        )
    return mean.detach()


def _occlusion(network: nn.Module, region: Tensor, inside: Tensor) -> Tensor:
    """Fall of the score when what of a block lies inside is covered; other blocks are not tried."""
    from captum.attr import FeatureAblation

    if not bool((region[inside] > 0).any()):
        return torch.zeros_like(region)
    cover = torch.where(inside, region[inside].mean(), region)
    with torch.no_grad():
        fall: Tensor = FeatureAblation(network).attribute(
            region, baselines=cover, feature_mask=_blocks(inside), perturbations_per_eval=1
        )
    return fall * inside


def _blocks(inside: Tensor) -> Tensor:
    """Give a number from 1 to each block that holds a voxel of the mask, and 0 to everything else."""
    axes = [torch.arange(size, device=inside.device) // BLOCK for size in inside.shape[2:]]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    number = ((x * (int(y.max()) + 1) + y) * (int(z.max()) + 1) + z + 1)[None, None] * inside
    compact: Tensor = torch.unique(number, return_inverse=True)[1]
    return compact if not bool(inside.all()) else compact + 1


def to_native(
    volume: NDArray[np.float32],
    affine: NDArray[np.float64],
    transform: NDArray[np.float64],
    *,
    shape: tuple[int, int, int],
    native_affine: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Bring a map of the region back to the grid of the scan, so that it overlays on the original.

    Parameters
    ----------
    volume, affine
        Map of the region, (X, Y, Z), and its 4 × 4 affine (voxel to mm of the template's space).
    transform
        4 × 4, mm of the template's space to mm of the scan's space, as registration gives it.
    shape, native_affine
        Grid of the scan.

    Returns
    -------
    map
        float32 of `shape`; linear interpolation, zero outside the region.
    """
    to_region = np.linalg.inv(affine) @ np.linalg.inv(transform) @ native_affine
    corners = np.stack(np.meshgrid(*[(-1.0, size) for size in volume.shape], indexing="ij"), -1).reshape(
        -1, 3
    )
    to_scan = np.linalg.inv(to_region)
    seen = apply_affine(to_scan, corners)
    low = np.clip(np.floor(seen.min(axis=0)).astype(int), 0, shape)
    high = np.clip(np.ceil(seen.max(axis=0)).astype(int) + 1, low, shape)
    native = np.zeros(shape, dtype=np.float32, order="F")  # as it is written
    if np.all(high > low):
        box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
        offset = apply_affine(to_region, low)
        native[box] = ndimage.affine_transform(
            volume, to_region[:3, :3], offset, output_shape=tuple(high - low), order=1, output=np.float32
        )
    return native
