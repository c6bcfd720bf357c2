"""The names of what is written for a scan, and the sidecars that go with it.

All images of a scan lie in `sub-X[/ses-Y]/anat` and begin as the scan's own name does. Two grids are used:
`res-05`, 0.5 mm, the box of 84 × 64 × 42 mm that the network sees, and `res-1`, 1 mm, the whole head, to
judge the registration by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from epvs_bids import __version__
from epvs_bids.bids.scan import Scan

RESOLUTIONS = {
    "05": "0.5 mm isotropic: the box that the network sees, around the basal ganglia",
    "1": "1 mm isotropic: the template's field of view",
}
NATIVE_SPACE = "scanner"
"""What `space-` says where scans are not brought to a template."""


@dataclass(frozen=True)
class ScanOutputs:
    """Where the derivatives of one scan go.

    Attributes
    ----------
    output_dir
        Root of the derivatives.
    scan
        The scan.
    space
        The template's name, or `NATIVE_SPACE`.
    """

    output_dir: Path
    scan: Scan
    space: str

    @property
    def folder(self) -> Path:
        """`sub-X/anat` or `sub-X/ses-Y/anat`."""
        session = [f"ses-{self.scan.session}"] if self.scan.session else []
        return self.output_dir.joinpath(f"sub-{self.scan.participant}", *session, "anat")

    def image(
        self, suffix: str, *, res: str | None = None, label: str | None = None, desc: str | None = None
    ) -> Path:
        """Return the path of an image in `space` and, where `res` is None, of one in the scan's own space."""
        space = self.space if res else None
        parts = {"space": space, "res": res, "label": label, "desc": desc}
        return self.folder / (self._join(parts) + f"_{suffix}.nii.gz")

    def transform(self, *, inverse: bool = False) -> Path:
        """Return the path of the ITK transform that brings the scan to the template, or its inverse."""
        ends = (self.space, self.scan.suffix) if inverse else (self.scan.suffix, self.space)
        return self.folder / f"{self.scan.entities}_from-{ends[0]}_to-{ends[1]}_mode-image_xfm.txt"

    @property
    def scores(self) -> Path:
        """The table of scores."""
        return self.folder / f"{self.scan.entities}_desc-epvs_scores.tsv"

    @property
    def status(self) -> Path:
        """What became of the scan in the last run: scored, or why not."""
        return self.output_dir / "logs" / "scans" / f"{self.scan.name}.json"

    def _join(self, parts: Mapping[str, str | None]) -> str:
        given = [f"{key}-{value}" for key, value in parts.items() if value]
        return "_".join([self.scan.entities, *given])


def raw_uri(bids_dir: Path, path: Path) -> str:
    """Return the BIDS URI of a file of the input, or, for one from elsewhere, its name alone."""
    if path.is_relative_to(bids_dir):
        return "bids:raw:" + quote(path.relative_to(bids_dir).as_posix())
    return path.name


def own_uri(output_dir: Path, path: Path) -> str:
    """Return the BIDS URI of a file of the output."""
    return "bids::" + quote(path.relative_to(output_dir).as_posix())


def image_sidecar(
    description: str, *, sources: Iterable[str], res: str | None, skull_stripped: bool, **more: object
) -> dict[str, Any]:
    """Return the sidecar of an image.

    Parameters
    ----------
    description
        What the image shows, with its units.
    sources
        BIDS URIs of what it was made from.
    res
        Key of `RESOLUTIONS`, or None for an image on the scan's own grid.
    skull_stripped
        Whether tissue outside the brain is missing.
    more
        Further fields; those that are None are left out.
    """
    resolution = {"Resolution": RESOLUTIONS[res]} if res else {}
    given = {key: value for key, value in more.items() if value is not None}
    return {
        "Description": description,
        "Sources": list(sources),
        "SkullStripped": skull_stripped,
        **resolution,
        **given,
        "SoftwareVersions": f"epvs-bids {__version__}",
    }


SCORE_DICTIONARY: dict[str, dict[str, Any]] = {
    "region": {
        "LongName": "Region",
        "Description": "Where EPVS are counted",
        "Levels": {"BG": "Basal ganglia"},
    },
    "score": {
        "LongName": "EPVS score",
        "Description": "Number of enlarged perivascular spaces that the model expects a rater to count; mean "
        "over the networks of the model. May be fractional or slightly below 0",
        "Units": "count",
    },
    "score_sd": {
        "LongName": "Spread of the score",
        "Description": "Standard deviation (n - 1) over the networks of the model; n/a for a single network",
        "Units": "count",
    },
    "potter_class": {
        "LongName": "Potter category",
        "Description": "Category of the rounded score after Potter et al. 2015, doi:10.1159/000375153",
        "Levels": {"0": "none", "1": "1-10", "2": "11-20", "3": "21-40", "4": "more than 40"},
    },
    "model": {"LongName": "Model", "Description": "Name of the model that scored"},
    "segmentation": {"LongName": "Segmentation", "Description": "Where the basal ganglia mask comes from"},
    "qc_pass": {
        "LongName": "Quality control passed",
        "Description": "Whether automatic checks let the score stand",
        "Levels": {"true": "yes", "false": "no; see qc_reason"},
    },
    "qc_reason": {
        "LongName": "Quality control remarks",
        "Description": "What the checks found, separated by semicolons; n/a where nothing was found",
    },
}
"""Data dictionary of a `_desc-epvs_scores.tsv`, in the order of its columns."""


def score_dictionary(n_models: int) -> dict[str, dict[str, Any]]:
    """Return the data dictionary of a table of scores, with a column for each network of an ensemble."""
    members = {
        f"model-{number}": {
            "LongName": f"Score of network {number}",
            "Description": f"Score that network {number} of the model gives",
            "Units": "count",
        }
        for number in range(1, n_models + 1)
    }
    return {**SCORE_DICTIONARY, **(members if n_models > 1 else {})}
