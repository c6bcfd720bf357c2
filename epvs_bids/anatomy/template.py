"""The image of MNI space to which scans are registered: TemplateFlow's, else the one that nilearn carries."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from epvs_bids.anatomy.images import Volume, load_labels, load_volume
from epvs_bids.errors import MissingInputError

_LOGGER = logging.getLogger(__name__)

DEFAULT_TEMPLATE = "MNI152NLin2009cAsym"
FALLBACK_TEMPLATE = "MNI152NLin2009aSym"
_IN_NILEARN = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_NILEARN_BRAIN = 0.2
"""Above this share of the brightest voxel is brain; the image is brain-extracted."""
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "PDw": ("PD", "PDw", "T2w", "T1w"),
    "T2w": ("T2w", "PD", "PDw", "T1w"),
    "T1w": ("T1w",),
}
"""Suffixes to ask TemplateFlow for, nearest contrast first; it names proton density `PD` in places."""


@dataclass(frozen=True)
class Template:
    """
    A template as it was used.

    Parameters
    ----------
    name
        Its name in TemplateFlow, which is the `space` of the outputs.
    image
        The image, 1 mm.
    mask
        Its brain mask, boolean, same shape.
    contrast
        `T1w`, `T2w` or `PDw`.
    source
        Program and version that it came with.
    """

    name: str
    image: Volume
    mask: NDArray[np.bool_]
    contrast: str
    source: str


@functools.lru_cache(maxsize=2)
def get_template(name: str = DEFAULT_TEMPLATE, contrast: str = "T2w") -> Template:
    """
    Find a template of the nearest contrast.

    Parameters
    ----------
    name
        A name of TemplateFlow; `MNI152NLin2009aSym` is the one that nilearn carries.
    contrast
        Suffix of the scan: `PDw`, `T2w`, `PDT2` or `T1w`.

    Returns
    -------
    template
        From TemplateFlow's folder or server. Where neither answers and the default was asked for,
        nilearn's T1w template, named as such.

    Raises
    ------
    MissingInputError
        Another template was asked for and cannot be had.
    """
    if name != FALLBACK_TEMPLATE:
        found = _from_templateflow(name, _SUFFIXES.get(contrast, _SUFFIXES["T2w"]))
        if found is not None:
            return found
        if name != DEFAULT_TEMPLATE:
            raise MissingInputError(
                f"Template {name} is not in TemplateFlow's folder, nor can its server give it. "
                f"Set TEMPLATEFLOW_HOME to a folder that has it, or leave out --template."
            )
        return _instead_of(name)
    return _from_nilearn()


@functools.lru_cache(maxsize=1)
def _instead_of(name: str) -> Template:
    """Return the template that is used in place of one that can't be had; say so once for all contrasts."""
    _LOGGER.warning("TemplateFlow cannot give %s; using %s, which nilearn carries.", name, FALLBACK_TEMPLATE)
    return _from_nilearn()


def _from_templateflow(name: str, suffixes: tuple[str, ...]) -> Template | None:
    """Return the first suffix that TemplateFlow has with a brain mask, or None."""
    mask_path = _ask_templateflow(name, suffix="mask", desc="brain")
    if mask_path is None:
        return None
    for suffix in suffixes:
        path = _ask_templateflow(name, suffix=suffix, desc=None)
        if path is not None:
            mask, _ = load_labels(mask_path)
            contrast = "PDw" if suffix == "PD" else suffix
            source = f"templateflow {importlib.metadata.version('templateflow')}"
            return Template(name, load_volume(path), mask > 0, contrast, source)
    return None


@functools.lru_cache(maxsize=16)  # a failing download takes long: each is tried once for all contrasts
def _ask_templateflow(name: str, *, suffix: str, desc: str | None) -> Path | None:
    """Ask for one file of 1 mm; None where there is none, no network, or no home folder to keep it in."""
    try:
        from templateflow import api

        answer = api.get(name, resolution=1, suffix=suffix, desc=desc, extension=".nii.gz")
    except Exception as error:
        _LOGGER.info("TemplateFlow: %s %s: %s", name, suffix, error)
        return None
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    path = None if answer is None else Path(answer)
    return path if path is not None and path.is_file() and path.stat().st_size > 0 else None


def _from_nilearn() -> Template:
    """Return the brain-extracted T1w template of 1 mm that is part of nilearn's package.

    Read as `nilearn.datasets.load_mni152_template` and `load_mni152_brain_mask` do, which take two seconds
    to import.
    """
    image: Any = nib.load(Path(str(files("nilearn"))) / "datasets" / "data" / _IN_NILEARN)
    data = np.asarray(image.dataobj, dtype=np.float32)
    data = data / data.max()
    volume = Volume(
        data=data,
        affine=np.asarray(image.affine, dtype=np.float64),
        path=Path("mni_icbm152_t1_tal_nlin_sym_09a.nii.gz"),
    )
    source = f"nilearn {importlib.metadata.version('nilearn')}"
    return Template(FALLBACK_TEMPLATE, volume, data > _NILEARN_BRAIN, "T1w", source)
