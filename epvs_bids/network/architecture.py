"""The networks: the paper's regression network, every variant of its Table 3, and the family that counts.

One class covers them all. A stack of valid 3×3×3 convolutions, in stages with a stride-2 max-pooling between
them, ends in one of two heads:

- ``dense`` (the paper, section 2.3): max-pooling by 4, dense layers, one linear unit;
- ``sum`` (ours): a 1×1×1 convolution gives a detection map in [0, 1]; the score is linear in its sum.

Examples
--------
>>> import torch
>>> network = build_network(Architecture(features=2, blocks=1, convolutions=1, dense=(8,)), (24, 20, 16))
>>> network(torch.zeros(3, 1, 24, 20, 16)).shape
torch.Size([3])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from epvs_bids.errors import BadDataError
from epvs_bids.network.heads import DenseHead, SumHead
from epvs_bids.network.scaling import local_contrast, robust_scale

Shape = tuple[int, int, int]

PAPER_INPUT: Shape = (168, 128, 84)
"""Voxels (left–right, posterior–anterior, inferior–superior) of the paper's region."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network looks like; the defaults are the paper's (section 2.3).

    Parameters
    ----------
    features : int
        Feature maps of the first stage; doubled after each pooling ("Feat1stL" of Table 3: 16, 32 or 64).
    blocks : int
        Stages of `convolutions` layers; one more stage of a single layer follows them.
    convolutions : int
        Layers a block.
    dense : tuple of int
        Units of each dense layer: ``(2000, 2000)``, ``(2000,)`` or ``()``. Used by the dense head only.
    head : {"dense", "sum"}
        How the last feature maps become a score.
    normalisation : {"none", "batch"}
        Batch normalisation between convolution and ReLU, or nothing as in the paper.
    channels : tuple of tuple of int, optional
        Feature maps of each layer of each stage; replaces `features`, `blocks` and `convolutions`.
    dilations : tuple of tuple of int, optional
        Dilation of each layer, in the form of `channels`; 1 everywhere when not given.
    scaling : {"none", "robust", "local"}
        ``robust`` divides the region by its own typical tissue intensity inside the network, so that one hot
        voxel (the region is divided by its maximum) does not rescale a scan. ``local`` goes on to the
        contrast of each voxel to the tissue around it: what is left is edges and spots.
    pooling : int
        Voxels along each axis that are averaged into one before the first convolution; 2 sees the region at
        1 mm, for an eighth of the computation.
    maps : int
        Detection maps of the sum head; the first is the one that counts EPVS.
    profile : int
        Weights along inferior–superior of the sum head: 1 counts every slice alike; more let the head learn
        in which height of the region the rater counted.
    floor : float
        A cell of the detection maps below it counts as 0, in [0, 1): what is that unlikely is no EPVS that a
        rater would see, but a hundred thousand cells of it add up.
    """

    features: int = 32
    blocks: int = 2
    convolutions: int = 4
    dense: tuple[int, ...] = (2000, 2000)
    head: Literal["dense", "sum"] = "dense"
    normalisation: Literal["none", "batch"] = "none"
    channels: tuple[tuple[int, ...], ...] | None = None
    dilations: tuple[tuple[int, ...], ...] | None = None
    scaling: Literal["none", "robust", "local"] = "none"
    pooling: int = 1
    maps: int = 1
    profile: int = 1
    floor: float = 0.0

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """Feature maps of each layer, stage by stage, with a pooling between stages."""
        if self.channels is not None:
            return self.channels
        body = tuple((self.features * 2**block,) * self.convolutions for block in range(self.blocks))
        return (*body, (self.features * 2**self.blocks,))

    @property
    def stage_dilations(self) -> tuple[tuple[int, ...], ...]:
        """Dilation of each layer, stage by stage."""
        return self.dilations or tuple((1,) * len(stage) for stage in self.stages)

    @property
    def stride(self) -> int:
        """Voxels of the region a cell of the last feature maps, in each direction."""
        return int(self.pooling * 2 ** (len(self.stages) - 1))

    @property
    def margin(self) -> int:
        """Voxels that the valid convolutions take off each side of a scaled region (after `pooling`)."""
        return sum(2**level * sum(stage) for level, stage in enumerate(self.stage_dilations))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `model.json` keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Read what `to_dict` gave (after JSON made lists of its tuples).

        Raises
        ------
        BadDataError
            A field that this version does not know, or a value that it can't build.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise BadDataError(
                f"The model's architecture has a field that this version does not know: {', '.join(unknown)}."
            )
        architecture = cls(**{name: _tuples(value) for name, value in values.items()})
        architecture.check()
        return architecture

    def check(self) -> None:
        """Refuse values that describe no network.

        Raises
        ------
        BadDataError
            Names the field.
        """
        choices = {
            "head": ("dense", "sum"),
            "normalisation": ("none", "batch"),
            "scaling": ("none", "robust", "local"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise BadDataError(f"Architecture: {name} is {getattr(self, name)!r}, not one of {allowed}.")
        for name in ("features", "blocks", "convolutions", "pooling", "maps", "profile"):
            if not _is_size(getattr(self, name), _LARGEST.get(name, _LARGEST_WIDTH)):
                raise BadDataError(
                    f"Architecture: {name} is {getattr(self, name)!r:.60}, not a usable whole number."
                )
        if not (isinstance(self.floor, int | float) and 0 <= self.floor < 1):
            raise BadDataError(f"Architecture: floor is {self.floor!r:.60}, not a number from 0 to below 1.")
        lists = {"dense": (self.dense,), "channels": self.channels, "dilations": self.dilations}
        for name, stages in lists.items():
            sound = stages is None or (isinstance(stages, tuple) and all(map(_are_sizes, stages)))
            if not sound or (stages is not None and not 0 < len(stages) <= _LARGEST["blocks"]):
                value = getattr(self, name)
                raise BadDataError(f"Architecture: {name} is {value!r:.60}; lists of sizes are expected.")
        if any(not stage for stage in self.stages):
            raise BadDataError("Architecture: channels has a stage without layers.")
        if [len(stage) for stage in self.stages] != [len(stage) for stage in self.stage_dilations]:
            raise BadDataError("Architecture: dilations and channels have different lengths.")


_LARGEST = {"blocks": 8, "convolutions": 32, "pooling": 8}
_LARGEST_WIDTH = 2**16


def _is_size(value: object, largest: int) -> bool:
    """Whether a value of a file is a whole number that can be built."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest


def _are_sizes(values: object) -> bool:
    """Whether a value of a file is a short tuple of such numbers."""
    return (
        isinstance(values, tuple)
        and len(values) <= _LARGEST["convolutions"]
        and all(_is_size(value, _LARGEST_WIDTH) for value in values)
    )


def _tuples(value: object) -> Any:  # noqa: ANN401 (what JSON holds)
    """Turn nested lists into nested tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


class ConvolutionLayer(nn.Sequential):
    """A valid 3×3×3 convolution, batch normalisation where wanted, ReLU unless a pooling comes before it."""

    def __init__(
        self, inputs: int, outputs: int, *, dilation: int, batch_norm: bool, pooled: bool = False
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(inputs, outputs, 3, dilation=dilation)
        if batch_norm:
            self.normalisation: nn.Module = nn.BatchNorm3d(outputs)
        if not pooled:
            self.activation = nn.ReLU(inplace=True)

    def fold(self) -> None:
        """Merge the batch normalisation into the convolution, for evaluation; does nothing without one."""
        normalisation = getattr(self, "normalisation", None)
        if isinstance(normalisation, nn.BatchNorm3d):
            self.convolution = fuse_conv_bn_eval(self.convolution, normalisation)
            del self.normalisation


class RegressionNetwork(nn.Module):
    """A region in, a score out.

    Parameters
    ----------
    architecture : Architecture
        Its layers.
    input_shape : tuple of int
        Voxels of the regions it will see; the dense head's size depends on it.

    Raises
    ------
    BadDataError
        The region is too small for the architecture.
    """

    def __init__(self, architecture: Architecture, input_shape: Sequence[int]) -> None:
        super().__init__()
        architecture.check()
        self.architecture = architecture
        self.input_shape: Shape = (int(input_shape[0]), int(input_shape[1]), int(input_shape[2]))
        self.checkpointing = False
        self.blocks = _build_stages(architecture)
        last = architecture.stages[-1][-1]
        self.head: DenseHead | SumHead
        if architecture.head == "dense":
            self.head = DenseHead(last, self._feature_shape(), architecture.dense)
        else:
            self.head = SumHead(last, maps=architecture.maps, profile=architecture.profile)

    def _feature_shape(self) -> Shape:
        """Voxels of the last feature maps for `input_shape`, without building them."""
        shape = [size // self.architecture.pooling for size in self.input_shape]
        for level, stage in enumerate(self.architecture.stage_dilations):
            shape = [size // 2 if level else size for size in shape]
            shape = [size - 2 * sum(stage) for size in shape]
        if min(shape) < 1:
            raise BadDataError(
                f"{'×'.join(map(str, self.input_shape))} voxels are too small for this architecture."
            )
        return (shape[0], shape[1], shape[2])

    def scale(self, region: Tensor) -> Tensor:
        """Apply the pooling and the intensity scaling that are part of the architecture.

        Parameters
        ----------
        region : Tensor
            (N, 1, X, Y, Z), whole regions (not patches), intensities from 0.

        Returns
        -------
        Tensor
            (N, 1, X // pooling, Y // pooling, Z // pooling).
        """
        if self.architecture.pooling > 1:
            region = nn.functional.avg_pool3d(region, self.architecture.pooling)
        if self.architecture.scaling == "none":
            return region
        scaled = robust_scale(region)
        return local_contrast(scaled) if self.architecture.scaling == "local" else scaled

    def features(self, scaled: Tensor) -> Tensor:
        """Last feature maps, (N, C, x, y, z), of scaled regions or patches."""
        maps = scaled
        for level, block in enumerate(self.blocks):
            if level:  # ReLU after the pooling gives the same and sees an eighth of the voxels
                maps = nn.functional.relu_(nn.functional.max_pool3d(maps, 2))
            if self.checkpointing and self.training:
                maps = checkpoint(block, maps, use_reentrant=False)
            else:
                maps = block(maps)
        return maps

    def logits(self, scaled: Tensor) -> Tensor:
        """Log-odds of the detection maps for scaled patches (no padding), for training with known positions.

        Parameters
        ----------
        scaled : Tensor
            (N, 1, X, Y, Z) patches cut from what `scale` gave.

        Returns
        -------
        Tensor
            (N, maps, x, y, z). Cell i covers the voxels of the patch from ``margin + stride / pooling * i``.
        """
        return self._sum_head().logits(self.features(scaled))

    def detection_map(self, region: Tensor) -> Tensor:
        """Compute the detection maps, in [0, 1], of whole regions.

        Parameters
        ----------
        region : Tensor
            (N, 1, X, Y, Z) as `participant` writes it, not scaled.

        Returns
        -------
        Tensor
            (N, maps, X // stride, Y // stride, Z // stride); cell i covers the voxels from ``stride * i``.
        """
        detections = torch.sigmoid(self.logits(self._pad(self.scale(region))))
        floor = self.architecture.floor
        return torch.where(detections < floor, 0, detections) if floor else detections

    def forward(self, region: Tensor) -> Tensor:
        """Score regions.

        Parameters
        ----------
        region : Tensor
            (N, 1, X, Y, Z) float, intensities in [0, 1].

        Returns
        -------
        Tensor
            (N,) scores, in EPVS.
        """
        if isinstance(self.head, SumHead):
            score: Tensor = self.head(self.detection_map(region))
        else:
            score = self.head(self.features(self.scale(region)))
        return score

    def _pad(self, region: Tensor) -> Tensor:
        """Add the margin of zeros (the mask's outside is zero) that lets the map cover the whole region."""
        return nn.functional.pad(region, (self.architecture.margin,) * 6)

    def _sum_head(self) -> SumHead:
        if not isinstance(self.head, SumHead):
            raise BadDataError("A network with a dense head has no detection map.")
        return self.head


def _build_stages(architecture: Architecture) -> nn.ModuleList:
    """Build the convolutions, one `Sequential` a stage."""
    batch_norm = architecture.normalisation == "batch"
    blocks = nn.ModuleList()
    inputs = 1
    last_stage = len(architecture.stages) - 1
    for level, channels in enumerate(architecture.stages):
        layers = []
        for number, (outputs, dilation) in enumerate(
            zip(channels, architecture.stage_dilations[level], strict=True), start=1
        ):
            pooled = number == len(channels) and level < last_stage
            layers.append(
                ConvolutionLayer(inputs, outputs, dilation=dilation, batch_norm=batch_norm, pooled=pooled)
            )
            inputs = outputs
        blocks.append(nn.Sequential(*layers))
    return blocks


def build_network(architecture: Architecture, input_shape: Sequence[int] = PAPER_INPUT) -> RegressionNetwork:
    """Build a network, with weights that `epvs_bids.network.initialisation` or a checkpoint then sets.

    Parameters
    ----------
    architecture : Architecture
        Its layers.
    input_shape : sequence of int
        Voxels of the regions, (X, Y, Z).

    Returns
    -------
    RegressionNetwork
        Maps (N, 1, X, Y, Z) regions to (N,) scores.
    """
    return RegressionNetwork(architecture, input_shape)
