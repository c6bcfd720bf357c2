"""The files at the top of the output: what the data set is, and which of its files BIDS does not know.

They depend on the version and the input only, so that jobs that share an output folder write the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from epvs_bids import __version__
from epvs_bids.errors import EPVSError
from epvs_bids.files import read_json, write_json, write_text

METHOD_URL = "https://doi.org/10.1016/j.media.2018.10.008"
"""The paper whose method this is."""

BIDS_VERSION = "1.10.0"

_OUTSIDE_BIDS = (
    "*_xfm.txt",
    "*_desc-epvs_scores.*",
    "*_label-BG_desc-roi_*",
    "*_label-BG_desc-saliency_*",
    "group_*",
    "models",
    "figures",
    "*.html",
)

_README = """\
Enlarged perivascular spaces (EPVS), written by EPVS BIDS App.

sub-*/**/*_desc-epvs_scores.tsv   the score of each scan
sub-*.html, group.html            pages to look at
group_*.tsv                       results of the group level
participants.tsv                  ages and sexes, as the data set has them
models/                           networks trained on this study
logs/                             settings and messages of each run, methods paragraph with citations
"""


def write_dataset_files(output_dir: Path, bids_dir: Path) -> None:
    """Write `dataset_description.json`, `.bidsignore` and `README`, unless they are there and the same.

    `participants.tsv` of the data set is copied, so that pages can show scores in the context of age.

    Parameters
    ----------
    output_dir
        Root of the derivatives.
    bids_dir
        The data set that they are made from.

    Raises
    ------
    CannotCreateError
        When they can't be written.
    """
    write_json(output_dir / "dataset_description.json", dataset_description(bids_dir))
    write_text(output_dir / ".bidsignore", "\n".join(_OUTSIDE_BIDS) + "\n")
    write_text(output_dir / "README", _README)
    for name in ("participants.tsv", "participants.json"):
        with suppress(OSError, UnicodeDecodeError):  # without it, pages show no ages
            write_text(output_dir / name, (bids_dir / name).read_text(encoding="utf-8-sig"))


def dataset_description(bids_dir: Path) -> dict[str, Any]:
    """Describe the derivatives of a data set, as BIDS asks for."""
    raw = _description_of(bids_dir)
    source: dict[str, str] = {"URL": raw.get("DatasetDOI") or bids_dir.resolve().as_uri()}
    if "DatasetDOI" in raw:
        source["DOI"] = str(raw["DatasetDOI"])
    return {
        "Name": "EPVS BIDS App: enlarged perivascular spaces",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": str(raw.get("License", "unknown")),
        "Authors": ["EPVS BIDS App"],
        "GeneratedBy": [_generator()],
        "SourceDatasets": [source],
        "DatasetLinks": {"raw": bids_dir.resolve().as_uri()},
        "HowToAcknowledge": f"Please cite Dubost et al. 2019 ({METHOD_URL}) and see logs/CITATION.md.",
    }


def _description_of(bids_dir: Path) -> dict[str, Any]:
    try:
        return read_json(bids_dir / "dataset_description.json")
    except EPVSError:
        return {}  # said before, by validation


def _generator() -> dict[str, Any]:
    generator: dict[str, Any] = {"Name": "epvs-bids", "Version": __version__}
    container = _container()
    return {**generator, "Container": container} if container else generator


def _container() -> dict[str, str] | None:
    """Describe the container that this runs in; None outside one."""
    tag = os.environ.get("EPVS_IMAGE", f"epvs-bids:{__version__}")
    if image := os.environ.get("SINGULARITY_CONTAINER") or os.environ.get("APPTAINER_CONTAINER"):
        return {"Type": "singularity", "Tag": tag, "URI": Path(image).name}
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return {"Type": "docker", "Tag": tag}
    return None
