"""The names of what is written for a scan, and the sidecars that go with it.

All images of a scan lie in `sub-X[/ses-Y]/anat` and begin as the scan's own name does. Two grids are used:
`res-05`, 0.5 mm, the box of 84 × 64 × 42 mm that the network sees, and `res-1`, 1 mm, the whole head, to
judge the registration by.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from epvs_bids import __version__
from epvs_bids.bids.scan import Scan
from epvs_bids.errors import EPVSError
from epvs_bids.files import read_json

RESOLUTIONS = {
    "05": "0.5 mm isotropic: the box that the network sees, around the basal ganglia",
    "1": "1 mm isotropic: the template's field of view",
}
NATIVE_SPACE = "scanner"
"""What `space-` says where scans are not brought to a template."""

_SOFTWARE = "epvs-bids"
_SIDECAR = re.compile(
    r"(?:space-(?P<space>[A-Za-z0-9]+)_res-(?:05|1)_)?(?:label-BG_)?desc-"
    r"(?:(?:preproc|roi|saliency)_(?P<suffix>PDw|T2w)|smooth_probseg|brain_mask|aseg_dseg|epvs_scores)\.json"
)
"""How the name of a sidecar of ours goes on behind the entities of the scan."""


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
        return self._transform(*ends)

    @property
    def scores(self) -> Path:
        """The table of scores."""
        return self.folder / f"{self.scan.entities}_desc-epvs_scores.tsv"

    @property
    def status(self) -> Path:
        """What became of the scan in the last run: scored, or why not."""
        return self.output_dir / "logs" / "scans" / f"{self.scan.name}.json"

    def leftovers(self, written: Collection[Path]) -> list[Path]:
        """Return our files of this scan that an earlier run wrote and the last one did not.

        Such are made with other options: of another contrast or template, scores, saliency maps. A file is
        ours when its sidecar says so, and of this scan when its name holds no other entity of the input.

        Parameters
        ----------
        written
            What the last run wrote.

        Returns
        -------
        files
            Sidecars behind what they describe: where their removal is cut short, the rest is found again.
        """
        sidecars = [path for path in sorted(self.folder.glob("*.json")) if path not in written]
        described = dict.fromkeys(path for sidecar in sidecars for path in self._described(sidecar))
        return [path for path in described if path not in written and (path.exists() or path.is_symlink())]

    def _described(self, sidecar: Path) -> Iterator[Path]:
        """Give the files that go with a sidecar of ours, itself last; none for one of anybody else's."""
        match = _SIDECAR.fullmatch(sidecar.name.removeprefix(f"{self.scan.entities}_"))
        if match is None or not sidecar.name.startswith(f"{self.scan.entities}_") or not _is_ours(sidecar):
            return
        if match["space"] and match["suffix"]:  # transforms have no sidecar of their own
            ends = (match["suffix"], match["space"])
            yield from (self._transform(*ends), self._transform(*reversed(ends)))
        yield sidecar.with_suffix(".tsv" if sidecar.stem.endswith("_scores") else ".nii.gz")
        yield sidecar

    def _transform(self, start: str, end: str) -> Path:
        return self.folder / f"{self.scan.entities}_from-{start}_to-{end}_mode-image_xfm.txt"

    def _join(self, parts: Mapping[str, str | None]) -> str:
        given = [f"{key}-{value}" for key, value in parts.items() if value]
        return "_".join([self.scan.entities, *given])


def _is_ours(sidecar: Path) -> bool:
    """Tell whether this app wrote a sidecar; one that can't be read is left to whoever did."""
    try:
        return str(read_json(sidecar).get("SoftwareVersions")).startswith(f"{_SOFTWARE} ")
    except EPVSError:
        return False


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
        "SoftwareVersions": f"{_SOFTWARE} {__version__}",
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
