"""The template beside which a registered scan is shown; a small copy is kept in the outputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from epvs_bids.anatomy.image_files import write_image
from epvs_bids.errors import EPVSError
from epvs_bids.reports.volumes import Image, read_image, window

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownTemplate:
    """A template's image and what it is called."""

    name: str
    image: Image


def template_image(output_dir: Path, space: str, suffix: str) -> ShownTemplate | None:
    """Return the template of a space and contrast, or None where it can't be had.

    The first call keeps a copy with 8 bits in `figures/`, so that pages can be made again from the output
    folder alone.

    Parameters
    ----------
    output_dir
        Derivatives.
    space
        Name of the template, as in `space-MNI152NLin2009cAsym`.
    suffix
        Contrast of the scan: `PDw` or `T2w`.
    """
    kept = output_dir / "figures" / f"tpl-{space}_desc-report_{suffix}.nii.gz"
    try:
        if not kept.is_file():
            _keep(kept, space, suffix)
        image = read_image(kept)
        return ShownTemplate(f"{space}, {_remark(kept)}".rstrip(", "), image)
    except (EPVSError, OSError) as error:
        _LOGGER.warning("No template for the registration check: %s", error)
        return None


def _keep(path: Path, space: str, suffix: str) -> None:
    """Write the template as 8-bit NIfTI, its contrast and origin in the header."""
    from epvs_bids.anatomy.template import get_template

    template = get_template(space, suffix)
    image = Image(template.image.data, template.image.affine)
    low, high = window(image.data, percentile=99.9)
    scaled = np.rint(np.clip((image.data - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    packed = nib.Nifti1Image(scaled, image.affine)
    packed.header["descrip"] = f"{template.contrast}, {template.source}"[:79]
    write_image(path, packed)


def _remark(path: Path) -> str:
    """Read contrast and origin of a kept template from its header."""
    header: Any = nib.load(path).header
    return bytes(header["descrip"].item()).decode("utf-8", "replace")
