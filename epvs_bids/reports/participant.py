"""Everything that a participant's page shows, as plain values for its template."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epvs_bids.anatomy.commissure import find_commissure
from epvs_bids.bids.scores import entity
from epvs_bids.errors import EPVSError
from epvs_bids.files import MISSING
from epvs_bids.reports import outputs, style
from epvs_bids.reports.figures import cohort_context, heat_scale, planes, region_mosaic, standard_cuts
from epvs_bids.reports.outputs import Row, Scan, number, passed
from epvs_bids.reports.run import flat
from epvs_bids.reports.template import template_image
from epvs_bids.reports.volumes import (
    Image,
    Point,
    centre,
    crop_like,
    inner_window,
    read_image,
    small_nifti,
)

_LOGGER = logging.getLogger(__name__)

_DPI = 110
_AGE_NEIGHBOURS = 5.0
_UNFINISHED = ("failed", "stopped", "missing")
POTTER = {"0": "none", "1": "1–10", "2": "11–20", "3": "21–40", "4": "more than 40"}
"""Counts that the classes of Potter et al. 2015 (doi:10.1159/000375153) stand for."""


def participant_view(output_dir: Path, participant: str, everyone: Sequence[Row]) -> dict[str, Any]:
    """Gather what the page of a participant (`sub-…`) shows, `everyone` being what `outputs.cohort` gives."""
    ages = outputs.ages(output_dir)
    scans = [
        _scan_view(output_dir, scan, everyone, ages) for scan in outputs.find_scans(output_dir, participant)
    ]
    return {"participant": participant, "scans": scans, "problems": problems(output_dir, participant)}


def problems(output_dir: Path, participant: str) -> list[dict[str, str]]:
    """List the scans of a participant that the last run did not finish, with the reason.

    From `logs/scans/<scan>.json`, which the participant level leaves for every scan.
    """
    statuses = [
        outputs.content(path)
        for path in sorted((output_dir / "logs" / "scans").glob("*.json"))
        if entity(path.stem, "sub") == participant
    ]
    return [
        {"title": f"{status.get('scan', '')}: {status['result']}", "text": str(status.get("reason") or "")}
        for status in statuses
        if status.get("result") in _UNFINISHED
    ]


def _scan_view(
    output_dir: Path, scan: Scan, everyone: Sequence[Row], ages: Mapping[tuple[str, str], float]
) -> dict[str, Any]:
    """Gather what one scan's section shows."""
    scores = outputs.rows(scan.files["scores"]) if "scores" in scan.files else []
    sidecar = outputs.content(scan.files["sidecar"]) if "sidecar" in scan.files else {}
    age = outputs.age_of(ages, scan.participant, scan.session)
    who = outputs.person(output_dir, scan.participant)
    return {
        "name": scan.name,
        "title": " · ".join(scan.name.split("_")) + (f" · {scan.suffix}" if scan.suffix else ""),
        "space": scan.space,
        "age": f"{age:g}" if age is not None else who.get("age", ""),
        "sex": who.get("sex", ""),
        "scores": [_score_view(row, everyone, ages, age) for row in scores],
        "sidecar": flat(sidecar),
        "quality": _quality(sidecar),
        "method": _saliency_method(scan),
        **_image_view(output_dir, scan),
    }


def _score_view(
    row: Row, everyone: Sequence[Row], ages: Mapping[tuple[str, str], float], age: float | None
) -> dict[str, Any]:
    """Put one region's score beside those of the study."""
    score, spread = number(row.get("score")), number(row.get("score_sd"))
    others = [other for other in everyone if other.get("region") == row.get("region") and passed(other)]
    known = [(number(other.get("score")), other) for other in others]
    values = np.array([value for value, _ in known if value is not None])
    years = np.array(
        [
            outputs.age_of(ages, other["participant_id"], _session(other)) or np.nan
            for value, other in known
            if value is not None
        ]
    )
    view: dict[str, Any] = {
        "region": row.get("region", ""),
        "score": score,
        "spread": spread,
        "potter": row.get("potter_class", ""),
        "potter_counts": POTTER.get(row.get("potter_class", "").removesuffix(".0"), ""),
        "model": row.get("model", ""),
        "segmentation": row.get("segmentation", ""),
        "passed": passed(row),
        "reason": row.get("qc_reason", ""),
        "context": None,
        "rank": None,
        "age_rank": None,
        "scans": len(values),
    }
    if score is not None and len(values) >= 3:
        figure = cohort_context(values, score, spread=spread, ages=years, age=age)
        view["context"] = _data_uri(style.to_svg(figure), "image/svg+xml")
        view["rank"] = _percent_below(values, score)
        if age is not None:
            near = values[np.abs(years - age) <= _AGE_NEIGHBOURS]
            view["age_rank"] = _percent_below(near, score) if len(near) >= 10 else None
    return view


def _quality(sidecar: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what the automatic checks measured, as the sidecar of the scores keeps it."""
    found = []
    volume = sidecar.get("BasalGangliaVolume")
    if isinstance(volume, dict) and (value := number(volume.get("Value"))) is not None:
        found.append(("Segmented volume", f"{value:.1f} {volume.get('Units', 'mL')} (before dilation)"))
    registration = sidecar.get("Registration")
    if isinstance(registration, dict) and (dice := number(registration.get("dice"))) is not None:
        found.append(("Registration", f"Dice {dice:.2f} with the template's brain"))
    return found


def _saliency_method(scan: Scan) -> str:
    """Name the method of the saliency map as its sidecar says, `gradient` where it does not."""
    path = scan.files.get("saliency_sidecar")
    return str(outputs.content(path).get("Method", "gradient")) if path else "gradient"


def _session(row: Row) -> str:
    session = row.get("session_id", "")
    return "" if session == MISSING else session


def _percent_below(values: np.ndarray[Any, np.dtype[np.float64]], score: float) -> int:
    """Percentage of values below a score; ties count half."""
    return round(100 * float(np.mean((values < score) + 0.5 * (values == score))))


def _image_view(output_dir: Path, scan: Scan) -> dict[str, Any]:
    """Draw the pictures of a scan, as far as its images are there and can be read."""
    view: dict[str, Any] = {
        "planes": None,
        "template": None,
        "template_name": "",
        "region": None,
        "volumes": {},
        "position": None,
        "at_commissure": False,
        "image_error": "",
        "has_saliency": "saliency" in scan.files,
    }
    try:
        images = {
            role: read_image(scan.files[role])
            for role in ("head", "scan", "mask", "region", "saliency")
            if role in scan.files
        }
    except EPVSError as error:
        _LOGGER.warning("%s: an image can't be shown: %s", scan.name, error)
        return {**view, "image_error": str(error)}
    if "head" in images and "mask" in images:
        view.update(_plane_view(output_dir, scan, images["head"], images["mask"]))
    if "region" in images and "mask" in images:
        mask = _on(images["mask"], images["region"])
        if "saliency" in images:
            images["saliency"] = _on(images["saliency"], images["region"])
        figure = region_mosaic(images["region"], mask, saliency=images.get("saliency"))
        view["region"] = _data_uri(style.to_png(figure, dpi=_DPI), "image/png")
        view["volumes"] = _viewer_volumes(images, mask)
        view["position"] = (
            standard_cuts(_level(scan, mask), centre(mask))[-1].position,
            *_level(scan, mask)[1:],
        )
    return view


def _plane_view(output_dir: Path, scan: Scan, head: Image, mask: Image) -> dict[str, Any]:
    """Draw scan and template in the same planes."""
    in_template = scan.space.startswith("MNI")
    level, middle = _level(scan, mask), centre(mask)
    template = template_image(output_dir, scan.space, scan.suffix) if in_template else None
    limits = template.image.limits if template else head.limits
    cuts = standard_cuts(level, middle)
    shown = {"planes": head, "template": template.image if template else None}
    view: dict[str, Any] = {
        key: _data_uri(
            style.to_png(planes(image, cuts, limits=limits, mask=mask, spacing=0.75), dpi=_DPI), "image/png"
        )
        for key, image in shown.items()
        if image is not None
    }
    return {**view, "template_name": template.name if template else "", "at_commissure": in_template}


def _level(scan: Scan, mask: Image) -> Point:
    """Where to look first: the person's anterior commissure in template space, else the mask's middle."""
    return find_commissure(mask.data, mask.affine) if scan.space.startswith("MNI") else centre(mask)


def _viewer_volumes(images: Mapping[str, Image], mask: Image) -> dict[str, str]:
    """Pack what the viewer scrolls through, on the grid of the region."""
    region = images["region"]
    scan = _on(images.get("scan", region), region)
    low, high = inner_window(scan, mask)
    packed = {
        "scan": small_nifti(scan, low=low, high=high),
        # The viewer draws the outline at one half: what is far from that would only take room.
        "mask": small_nifti(mask, low=0.3, high=0.7),
    }
    if "saliency" in images:
        strength = Image(np.abs(images["saliency"].data), region.affine)
        packed["saliency"] = small_nifti(strength, low=0, high=heat_scale(strength, mask))
    return packed


def _on(image: Image, grid: Image) -> Image:
    """`image` on the grid of another one."""
    if image.data.shape == grid.data.shape and np.allclose(image.affine, grid.affine, atol=1e-4):
        return image
    x, y, z = grid.data.shape
    return crop_like(image, (x, y, z), grid.affine)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
