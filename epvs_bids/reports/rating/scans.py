"""Which scans there are to rate: those that the participant level registered to the template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epvs_bids.anatomy.commissure import TEMPLATE_COMMISSURE, find_commissure
from epvs_bids.bids.scores import entity
from epvs_bids.reports.volumes import read_image

SUFFIXES = ("PDw", "T2w", "PDT2")
"""Contrasts by preference: one scan a session is rated."""


@dataclass(frozen=True)
class Scan:
    """One scan to rate.

    Parameters
    ----------
    name
        File name up to `_space-`: `sub-01_ses-1`.
    participant_id, session_id
        `sub-…`, and `ses-…` or an empty string.
    image
        The scan on the template's grid, `…_desc-preproc_<suffix>.nii.gz`.
    transform
        ITK file that takes points of the template to points of the scanner,
        `…_from-<suffix>_to-<template>_mode-image_xfm.*`.
    """

    name: str
    participant_id: str
    session_id: str
    image: Path
    transform: Path

    @property
    def commissure(self) -> float:
        """Height (template mm) of the person's anterior commissure; the template's where there is no mask."""
        mask = self.image.with_name(
            self.image.name.partition("_desc-preproc_")[0] + "_label-BG_desc-smooth_probseg.nii.gz"
        )
        if not mask.is_file():
            return TEMPLATE_COMMISSURE[2]
        basal_ganglia = read_image(mask)
        return find_commissure(basal_ganglia.data, basal_ganglia.affine)[2]


def _suffix(path: Path) -> str:
    return path.name.removesuffix(".nii.gz").rsplit("_", 1)[-1]


def _transform(image: Path) -> Path | None:
    """Find the transform of a scan, or None where it was not saved."""
    stem, space = image.name.split("_space-")[0], entity(image.name, "space").removeprefix("space-")
    found = sorted(image.parent.glob(f"{stem}_from-*_to-{space}_mode-image_xfm.*"))
    ours = [path for path in found if f"_from-{_suffix(image)}_" in path.name and path.suffix != ".json"]
    return ours[0] if ours else None


def _preference(image: Path) -> tuple[int, str]:
    suffix = _suffix(image)
    return (SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES), image.name)


def find_scans(output_dir: Path) -> tuple[list[Scan], list[str]]:
    """Find one scan a session under `output_dir`.

    Parameters
    ----------
    output_dir
        What the participant level wrote.

    Returns
    -------
    The scans by participant and session, and for every image left out a sentence that says why.
    """
    scans: dict[tuple[str, str], Scan] = {}
    left_out: list[str] = []
    images = output_dir.glob("sub-*/**/anat/sub-*_space-MNI152*_res-05_desc-preproc_*.nii.gz")
    for image in sorted(images, key=_preference):
        key = (entity(image.name, "sub"), entity(image.name, "ses"))
        transform = _transform(image)
        if key in scans:
            left_out.append(f"{image.name}: {scans[key].image.name} of the same session is rated.")
        elif transform is None:
            left_out.append(f"{image}: no transform beside it; run the participant level again for it.")
        else:
            scans[key] = Scan(image.name.split("_space-")[0], *key, image, transform)
    return [scans[key] for key in sorted(scans)], left_out
