"""Training regions on disk as one float16 file, read through memory mapping, with their scores."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from epvs_bids.anatomy.images import load_volume
from epvs_bids.errors import BadDataError
from epvs_bids.files import atomic_write, read_json, write_json

logger = logging.getLogger(__name__)

MINIMUM = 10
"""Fewest scans that a network is trained on."""


@dataclass(frozen=True, kw_only=True)
class RatedRegion:
    """One scan of a training set: whose it is, its name, the region's file, its visual score in EPVS."""

    participant: str
    name: str
    path: Path
    score: float


class RegionStore:
    """Regions as one memory-mapped float16 array: 1,000 of the paper's size take 3.6 GB of disk, not memory.

    Parameters
    ----------
    path : Path
        A file that `store_regions` or `write_store` made.
    shape : tuple of int
        (n, X, Y, Z).
    sha256 : str
        Checksum of the file: whether a result was made from these regions.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int], *, sha256: str) -> None:
        self.path, self.sha256 = path, sha256
        self.shape = shape[1:]
        self._data = np.memmap(path, dtype=np.float16, mode="r", shape=shape)

    def __len__(self) -> int:
        return int(self._data.shape[0])

    def region(self, index: int) -> Tensor:
        """Return one region as a (1, 1, X, Y, Z) float16 tensor in memory."""
        return torch.from_numpy(np.array(self._data[index]))[None, None]


def check_training_set(regions: Sequence[RatedRegion]) -> None:
    """Refuse a set that nothing can be learned from.

    Raises
    ------
    BadDataError
        Fewer than ten scans, fewer than three participants, scores that are not counts, or one score only.
    """
    for region in regions:
        if not np.isfinite(region.score) or region.score < 0:
            raise BadDataError(f"{region.name}: the visual score {region.score} is not a number from 0.")
    if len(regions) < MINIMUM:
        raise BadDataError(
            f"There are {len(regions)} scans with a region and a visual score; training takes {MINIMUM}."
        )
    if len({region.participant for region in regions}) < 3:
        raise BadDataError(
            "The scans are of fewer than three participants; no split by participant is possible."
        )
    scores = {region.score for region in regions}
    if len(scores) == 1:
        raise BadDataError(
            f"Every scan has the visual score {scores.pop():g}; there is nothing to learn from."
        )


def read_sidecar(image: Path) -> dict[str, Any]:
    """Read the JSON file beside a region; empty where there is none."""
    sidecar = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    return read_json(sidecar) if sidecar.is_file() else {}


def common_preprocessing(regions: Sequence[RatedRegion]) -> tuple[dict[str, Any], str | None]:
    """Return how the regions were made, and the template they lie in, from their sidecars.

    Raises
    ------
    BadDataError
        Two regions were made differently (names both files and the field), or a sidecar does not say.
    """
    first: dict[str, Any] = {}
    for region in regions:
        sidecar = read_sidecar(region.path)
        if not isinstance(sidecar.get("Preprocessing"), dict):
            raise BadDataError(
                f"The sidecar of {region.path} does not say how it was made; run the participant level again."
            )
        made = {**sidecar["Preprocessing"], "template": (sidecar.get("Template") or {}).get("name")}
        first = first or made
        for field in sorted({*first, *made}):
            if made.get(field) != first.get(field):
                raise BadDataError(
                    f"{region.path} was made with {field} = {made.get(field)!r}, {regions[0].path} with "
                    f"{first.get(field)!r}. Run the participant level again with one setting for all."
                )
    return first, first.pop("template", None)


def store_regions(paths: Sequence[Path], path: Path) -> RegionStore:
    """Copy regions into one file, or take the one that is there if no region changed since.

    Parameters
    ----------
    paths : sequence of Path
        NIfTI files of one shape.
    path : Path
        The store; a ``.json`` beside it says what it holds.

    Raises
    ------
    BadDataError
        Regions of different shape, or a file that can't be read.
    """
    key = _key(paths)
    manifest = path.with_suffix(".json")
    if path.is_file() and manifest.is_file():
        known = read_json(manifest)
        if known.get("key") == key and "sha256" in known:
            return _open(path, known["shape"], known["sha256"])
    logger.info("Gathering %d regions in %s", len(paths), path)
    first = load_volume(paths[0]).data.shape
    digest = hashlib.sha256()
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        for source in paths:
            data = load_volume(source).data
            if data.shape != first:
                raise BadDataError(
                    f"{source} has shape {data.shape}, {paths[0]} has {first}: all regions of a training set "
                    "have one shape. Run the participant level again for those that differ."
                )
            content = np.ascontiguousarray(data, dtype=np.float16).tobytes()
            stream.write(content)
            digest.update(content)
    shape = [len(paths), *first]
    write_json(manifest, {"key": key, "shape": shape, "sha256": digest.hexdigest()})
    return _open(path, shape, digest.hexdigest())


def write_store(path: Path, regions: NDArray[np.floating[Any]]) -> RegionStore:
    """Write regions (n, X, Y, Z) that are in memory as a store."""
    data = np.ascontiguousarray(regions, dtype=np.float16)
    with atomic_write(path) as temporary:
        data.tofile(temporary)
    return _open(path, list(regions.shape), hashlib.sha256(data.tobytes()).hexdigest())


def _open(path: Path, shape: Sequence[int], sha256: str) -> RegionStore:
    count, x, y, z = shape
    return RegionStore(path, (count, x, y, z), sha256=sha256)


def _key(paths: Sequence[Path]) -> str:
    """Tell whether any of the files changed."""
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
