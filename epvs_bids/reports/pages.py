"""Writes the pages: one a participant, one for the study. Each is one file that needs no network.

Everything comes from the output folder, so pages can be made again (`--reports-only`) on a machine that has
neither the raw data nor a model.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from epvs_bids import __version__
from epvs_bids.files import write_text
from epvs_bids.reports import outputs
from epvs_bids.reports.group import group_view
from epvs_bids.reports.participant import participant_view
from epvs_bids.reports.run import run_view

_LOGGER = logging.getLogger(__name__)

GROUP_PAGE = "group.html"
REGION_NAMES = {"BG": "Basal ganglia"}
SALIENCY_TEXTS = {
    "gradient": "derivative of the score by each voxel",
    "smoothgrad": "SmoothGrad: mean derivative of the score over noisy copies",
    "occlusion": "occlusion: fall of the score when a block is covered",
}


def write_participant_page(
    output_dir: Path, participant_label: str, *, everyone: Sequence[outputs.Row] | None = None
) -> Path:
    """Write `sub-<label>.html`.

    Parameters
    ----------
    output_dir
        Derivatives; nothing outside of it is read, but for the template where no page needed it yet.
    participant_label
        With or without `sub-`.
    everyone
        What `outputs.cohort` gives, for who writes many pages at once; None: gathered for this page.

    Returns
    -------
    page
        Path of the page. A participant without derivatives has a page too, which says what went wrong.
    """
    participant = f"sub-{participant_label.removeprefix('sub-')}"
    everyone = outputs.cohort(output_dir) if everyone is None else everyone
    view = participant_view(output_dir, participant, everyone)
    has_group = (output_dir / GROUP_PAGE).is_file()
    return _write(
        output_dir / f"{participant}.html",
        "participant.html",
        {
            **view,
            "run": run_view(output_dir, participant),
            "group_page": GROUP_PAGE,
            "has_group_page": has_group,
        },
    )


def write_group_page(output_dir: Path) -> Path:
    """Write `group.html` from the tables and figures of the group level.

    Parameters
    ----------
    output_dir
        Derivatives; nothing outside of it is read.

    Returns
    -------
    page
        Path of the page.
    """
    view = {**group_view(output_dir), "run": run_view(output_dir)}
    return _write(output_dir / GROUP_PAGE, "group.html", view)


def _write(path: Path, template: str, view: dict[str, Any]) -> Path:
    """Fill a template; every value is escaped."""
    write_text(path, _environment().get_template(template).render(view))
    _LOGGER.info("Wrote %s", path)
    return path


@cache
def _environment() -> Environment:
    """Templates with autoescape on; `asset` gives the app's own styles and scripts as they are."""
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        asset=lambda name: Markup(_resource(name)),
        niivue=_niivue,
        version=__version__,
        region_names=REGION_NAMES,
        saliency_texts=SALIENCY_TEXTS,
    )
    return environment


def _resource(name: str) -> str:
    return (files("epvs_bids") / "data" / "reports" / name).read_text(encoding="utf-8")


def _niivue() -> str:
    """Read the viewer's library, gzipped, as base64 text."""
    packed = (files("epvs_bids") / "data" / "reports" / "niivue.umd.js.gz").read_bytes()
    return base64.b64encode(packed).decode("ascii")
