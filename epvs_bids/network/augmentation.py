"""Random rotations, translations and flips of regions, on the device they are on (section 3.1 of the paper).

Drawing the transformation is apart from applying it: `Augmentation.draw` is random, `transform` is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges from which each scan's transformation is drawn uniformly.

    Parameters
    ----------
    rotation : float
        Radians about each axis, in ±rotation.
    translation : float
        Voxels along each axis, in ±translation.
    flip_axes : tuple of str
        Axes flipped with probability 1/2: ``x`` left–right, ``y`` posterior–anterior, ``z``
        inferior–superior.
    """

    rotation: float = 0.2
    translation: float = 2.0
    flip_axes: tuple[str, ...] = ("x", "y")

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw a transformation.

        Parameters
        ----------
        generator : torch.Generator
            On the CPU; its state decides.

        Returns
        -------
        Tensor
            (4, 4) float64: from voxels of the result to voxels of the source, both counted from the centre.
        """
        angles, shifts, coins = torch.rand(3, 3, generator=generator, dtype=torch.float64)
        matrix = rotation_matrix(((2 * angles - 1) * self.rotation).tolist())
        flips = [
            -1.0 if axis in self.flip_axes and coin < 0.5 else 1.0
            for axis, coin in zip(AXES, coins.tolist(), strict=True)
        ]
        result = torch.eye(4, dtype=torch.float64)
        result[:3, :3] = matrix @ torch.diag(torch.tensor(flips, dtype=torch.float64))
        result[:3, 3] = (2 * shifts - 1) * self.translation
        return result


def rotation_matrix(angles: Sequence[float]) -> Tensor:
    """Return the (3, 3) rotation about x, then y, then z by `angles` (radians)."""
    return torch.from_numpy(Rotation.from_euler("xyz", angles).as_matrix())


def transform(regions: Tensor, matrix: Tensor) -> Tensor:
    """Resample regions by linear interpolation, zero outside.

    Parameters
    ----------
    regions : Tensor
        (N, 1, X, Y, Z).
    matrix : Tensor
        (4, 4) as `Augmentation.draw` gives it. Flips alone are exact, and cost nearly nothing.

    Returns
    -------
    Tensor
        Same shape; each voxel is the source at `matrix` times its place (from the centre, in voxels).
    """
    flipped = matrix.diagonal() < 0
    if torch.equal(matrix, torch.diag(1 - 2 * flipped.to(matrix.dtype))):
        return regions.flip([axis + 2 for axis in range(3) if flipped[axis]])
    half = torch.tensor(regions.shape[2:], dtype=torch.float64) / 2
    scaled = matrix[:3].clone()
    scaled[:, :3] = matrix[:3, :3] * half[None] / half[:, None]
    scaled[:, 3] = matrix[:3, 3] / half
    # grid_sample counts axes from the last to the first.
    theta = torch.cat([scaled[:, :3].flip(0, 1), scaled[:, 3:].flip(0)], dim=1)
    theta = theta.to(regions.device, torch.float32)[None].expand(len(regions), 3, 4)
    grid = torch.nn.functional.affine_grid(theta, list(regions.shape), align_corners=False)
    return torch.nn.functional.grid_sample(regions, grid, mode="bilinear", align_corners=False)
