"""The template beside which a registered scan is shown; a small copy is kept in the outputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from epvs_bids.errors import EPVSError
from epvs_bids.files import atomic_write
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
    name = f"{space}, {suffix}"
    try:
        if not kept.is_file():
            _keep(kept, space, suffix)
        return ShownTemplate(name, read_image(kept))
    except (EPVSError, OSError, ValueError, EOFError) as error:
        _LOGGER.warning("No template for the registration check: %s", error)
        return None


def _keep(path: Path, space: str, suffix: str) -> None:
    """Write the template as 8-bit NIfTI."""
    from epvs_bids.anatomy.template import get_template

    image = read_image(get_template(space, suffix).image)
    low, high = window(image.data, percentile=99.9)
    scaled = np.rint(np.clip((image.data - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    with atomic_write(path) as temporary:
        nib.save(nib.Nifti1Image(scaled, image.affine), temporary)
