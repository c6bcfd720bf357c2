"""Files of a simulated cohort: BIDS, phenotype, truth, FreeSurfer-like labels."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epvs_bids import __version__
from epvs_bids.anatomy.image_files import write_image
from epvs_bids.anatomy.images import save_volume
from epvs_bids.errors import TryAgainError, UsageError
from epvs_bids.files import atomic_write, cannot_create, make_folder, write_json, write_text, write_tsv
from epvs_bids.simulation.contrast import Sequence

LOGGER = logging.getLogger(__name__)

_SCALE = 400.0
"""Grey levels of white matter."""
_DESCRIPTION = "dataset_description.json"
_INCOMPLETE = ".incomplete"

PARTICIPANTS: dict[str, dict[str, object]] = {
    "participant_id": {"Description": "Participant"},
    "age": {"Description": "Age at the first session", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
}
RATINGS: dict[str, dict[str, object]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session"},
    **{
        name: {
            "Description": f"EPVS counted by simulated rater {name[0]}, repetition {name[1]}, "
            "in the slice of the anterior commissure, both hemispheres"
        }
        for name in ("A1", "A2", "B1", "B2")
    },
}
MARKERS: dict[str, dict[str, object]] = {
    "x": {"Description": "Centre, to the right, scanner coordinates", "Units": "mm"},
    "y": {"Description": "Centre, to the front, scanner coordinates", "Units": "mm"},
    "z": {"Description": "Centre, upwards, scanner coordinates", "Units": "mm"},
    "calibre": {"Description": "Largest diameter", "Units": "mm"},
    "length": {"Description": "Length along the course", "Units": "mm"},
    "visibility": {"Description": "Fraction of fluid inside"},
    "in_slice": {"Description": "1 where the slice of the anterior commissure shows it"},
}
COUNTS: dict[str, dict[str, object]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session"},
    "total_count": {"Description": "True number of EPVS in the basal ganglia, both hemispheres"},
    "slice_count": {"Description": "True number in the slice of the anterior commissure"},
}


@dataclass(frozen=True)
class Place:
    """Where the files of one session go: the data set's folder, ``sub-X``, and ``ses-Y`` or None."""

    out: Path
    participant: str
    session: str | None

    @property
    def stem(self) -> str:
        """`sub-X[_ses-Y]`."""
        return f"{self.participant}_{self.session}" if self.session else self.participant

    def anat(self, root: Path) -> Path:
        """Create and return `root/sub-X[/ses-Y]/anat`."""
        return make_folder(root / self.participant / (self.session or "") / "anat")


@contextmanager
def whole_dataset(out: Path) -> Iterator[Path]:
    """Yield a hidden folder in `out` whose content moves up into `out` when the block ends well.

    What an interrupted block has left there is removed. The folder is in `out`, not beside it, so that `out`
    may be a mount of a container, and its parent read-only.

    Parameters
    ----------
    out
        Folder of the data set; created.

    Raises
    ------
    UsageError
        `out` is a file, or holds anything but what an interrupted block has left.
    TryAgainError
        Another process is in such a block.
    CannotCreateError
        No permission, no space.
    """
    aside = out / _INCOMPLETE
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file. Choose another folder.")
    with _held(make_folder(out)):
        if any(path != aside for path in out.iterdir()):
            raise UsageError(f"{out} exists and is not an empty folder. Choose another folder or remove it.")
        try:
            if aside.exists():
                shutil.rmtree(aside)
            make_folder(aside)
        except OSError as error:
            raise cannot_create(aside, error) from error
        try:
            yield aside
            # The description last: without it, nobody takes the folder for a data set.
            for path in sorted(aside.iterdir(), key=lambda path: path.name == _DESCRIPTION):
                path.replace(out / path.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, where the file system has locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_create(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        remedy = "Choose another folder"
        raise TryAgainError(f"Another epvs-simulate is writing to {folder}. {remedy}.") from error
    except OSError as error:
        LOGGER.warning("No lock on %s (%s): let only one epvs-simulate write to it.", folder, error)
    try:
        yield
    finally:
        os.close(descriptor)


def write_scan(
    place: Place,
    scan: NDArray[np.float32],
    affine: NDArray[np.float64],
    sequence: Sequence,
    *,
    truth: pd.DataFrame,
    labels: NDArray[np.uint8] | None,
) -> None:
    """Write a scan with its sidecar, its markers and its label image.

    Parameters
    ----------
    place
        Whose session.
    scan, affine
        White matter at about 1; 4 × 4.
    sequence
        Its timing.
    truth
        One row an EPVS.
    labels
        1 + index of the EPVS in each voxel; None for a contrast that is not rated.
    """
    name = f"{place.stem}_{sequence.contrast}"
    folder = place.anat(place.out)
    grey = np.clip(np.rint(scan * _SCALE), 0, 32767).astype(np.int16)
    save_volume(folder / f"{name}.nii.gz", grey, affine, np.int16)
    timing = {"RepetitionTime": sequence.repetition / 1000, "EchoTime": sequence.echo / 1000}
    if sequence.inversion:
        timing["InversionTime"] = sequence.inversion / 1000
    rounded = {key: round(float(value), 4) for key, value in timing.items()}
    write_json(
        folder / f"{name}.json", {"Manufacturer": "epvs-simulate", "MagneticFieldStrength": 1.5} | rounded
    )
    if labels is None:
        return
    target = place.anat(place.out / "derivatives" / "simulation")
    base = f"{place.stem}_desc-epvs"
    write_tsv(target / f"{base}_markers.tsv", truth, MARKERS)
    save_volume(target / f"{base}_dseg.nii.gz", labels, affine, np.uint8)


def write_segmentation(place: Place, labels: NDArray[np.int16], affine: NDArray[np.float64]) -> None:
    """Write labels as a finished FreeSurfer run leaves them: `mri/aseg.mgz` and `scripts/recon-all.done`."""
    subject = place.out / "derivatives" / "freesurfer" / place.stem
    write_image(subject / "mri" / "aseg.mgz", nib.MGHImage(labels.astype(np.int32), affine))
    with atomic_write(make_folder(subject / "scripts") / "recon-all.done") as temporary:
        temporary.write_text(f"epvs-simulate {__version__}\n", encoding="utf-8")


def write_dataset(out: Path, people: pd.DataFrame, scans: pd.DataFrame, settings: Mapping[str, Any]) -> None:
    """Write what belongs to the whole data set.

    Parameters
    ----------
    out
        Folder of the data set.
    people
        One row a participant.
    scans
        One row a session, with true counts and ratings.
    settings
        What was simulated, for the record.
    """
    tool = {"Name": "epvs-simulate", "Version": __version__}
    write_json(
        out / _DESCRIPTION,
        {
            "Name": "Simulated scans with known enlarged perivascular spaces",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": "CC0",
            "GeneratedBy": [tool],
        },
    )
    write_text(
        out / "README",
        "Simulated scans of nobody, by epvs-simulate, with every enlarged perivascular space (EPVS) known.\n"
        "derivatives/simulation holds the truth, phenotype/epvs.tsv the counts of two simulated raters.\n",
    )
    write_tsv(out / "participants.tsv", people[["participant_id", "age", "sex"]], PARTICIPANTS)
    keys = [name for name in ("participant_id", "session_id") if name in scans]
    make_folder(out / "phenotype")
    columns = [*keys, "A1", "A2", "B1", "B2"]
    rated = scans.dropna(subset=["A1"])[columns].astype(dict.fromkeys(columns[len(keys) :], int))
    write_tsv(out / "phenotype" / "epvs.tsv", rated, {name: RATINGS[name] for name in columns})
    truth = make_folder(out / "derivatives" / "simulation")
    columns = [*keys, "total_count", "slice_count"]
    write_tsv(truth / "counts.tsv", scans[columns], {name: COUNTS[name] for name in columns})
    write_json(truth / "settings.json", dict(settings))
    for name in ("simulation", "freesurfer"):
        write_json(
            out / "derivatives" / name / _DESCRIPTION,
            {
                "Name": f"Simulated {name}",
                "BIDSVersion": "1.10.0",
                "DatasetType": "derivative",
                "GeneratedBy": [tool],
            },
        )
