"""Segmentations that exist: FreeSurfer, FastSurfer, SynthSeg and SAMSEG, wherever people keep them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from epvs_bids.errors import EPVSError
from epvs_bids.files import read_json

_IN_MRI = (
    ("aparc.DKTatlas+aseg.deep.mgz", "FastSurfer"),
    ("aseg.mgz", "FreeSurfer"),
    ("aparc+aseg.mgz", "FreeSurfer"),
    ("aseg.presurf.mgz", "FreeSurfer"),
    ("aparc.a2009s+aseg.mgz", "FreeSurfer"),
    ("synthseg.rca.mgz", "SynthSeg"),
    ("synthseg.mgz", "SynthSeg"),
)
_REFERENCES = ("orig.mgz", "T1.mgz", "nu.mgz", "norm.mgz", "brainmask.mgz")
_NESTED = ("freesurfer", "fastsurfer", "synthseg", "samseg", "sourcedata/freesurfer")


@dataclass(frozen=True)
class Existing:
    """
    A result that can be used.

    Parameters
    ----------
    labels
        The label image.
    program
        `FreeSurfer`, `FastSurfer`, `SynthSeg` or `SAMSEG`.
    reference
        The image that was segmented, on the labels' grid; `None` where the labels lie in the scanner
        coordinates of the scan itself.
    in_t1w
        Whether the labels lie in the T1w scan's coordinates without an image beside them.
    """

    labels: Path
    program: str
    reference: Path | None = None
    in_t1w: bool = False


@dataclass(frozen=True)
class Search:
    """
    What was found, and what was passed over.

    Parameters
    ----------
    found
        The result to use, or `None`.
    unfinished
        Sentences on results that are half-finished, still being made, or can't be read.
    running
        Whether one of those is still being made.
    """

    found: Existing | None
    unfinished: tuple[str, ...] = ()
    running: bool = False


def find_existing(directories: Sequence[Path], *, participant: str, session: str | None) -> Search:
    """
    Look for a segmentation of a participant.

    Parameters
    ----------
    directories
        Folders to look in, first come first: a SUBJECTS_DIR, the output of one program, or a folder of them.
    participant, session
        Labels, without `sub-` and `ses-`.

    Returns
    -------
    search
        The first that is finished, those of the same session before those of the participant as a whole; none
        of another session, and no labels that this app wrote itself.
    """
    names = [f"sub-{participant}"]
    if session is not None:
        names = [f"sub-{participant}_ses-{session}", f"sub-{participant}/ses-{session}", *names]
    unfinished: list[str] = []
    running = False
    for name in names:
        for root in _roots(directories):
            seen = _look(root / name, participant, session)
            if isinstance(seen, Existing):
                return Search(seen, tuple(unfinished), running)
            if seen is not None:
                running = running or "still being made" in seen
                unfinished.append(seen)
    return Search(None, tuple(unfinished), running)


def _look(folder: Path, participant: str, session: str | None) -> Existing | str | None:
    """Return the result in a folder, or a sentence on why it is passed over; None where there is nothing."""
    try:
        if not folder.is_dir():
            return None
        return _state(folder) or _in_subject(folder) or _in_bids(folder, participant, session)
    except OSError as error:
        remedy = "check its permissions, and the disk that it lies on"
        return f"{folder} can't be read ({error.strerror}: {remedy})"


def _roots(directories: Sequence[Path]) -> Iterator[Path]:
    """Yield each folder, and the folders of programs inside it; those that can't be read hold none."""
    for directory in directories:
        if not _is_folder(directory):
            continue
        yield directory
        inside = list[Path]()
        with suppress(OSError):
            inside = sorted(p for p in directory.iterdir() if not p.name.startswith((".", "sub-")))
        first = [directory / name for name in _NESTED]
        nested = [p / "sourcedata" / "freesurfer" for p in inside]
        yield from dict.fromkeys(p for p in [*first, *inside, *nested] if _is_folder(p))


def _is_folder(path: Path) -> bool:
    with suppress(OSError):  # `is_dir` raises where a folder above can't be entered
        return path.is_dir()
    return False


def _state(folder: Path) -> str | None:
    """Say whether a FreeSurfer subject is still running or was left half-way; None where it can be used."""
    scripts = folder / "scripts"
    if not scripts.is_dir():
        return None
    if any(scripts.glob("IsRunning*")):
        return f"{folder} is still being made (or was killed: then remove {scripts}/IsRunning*)"
    deep = folder / "mri" / "aparc.DKTatlas+aseg.deep.mgz"
    if not (scripts / "recon-all.done").is_file() and not deep.is_file():
        return f"{folder} is half-finished (no scripts/recon-all.done)"
    return None


def _in_subject(folder: Path) -> Existing | None:
    """Look for the files of FreeSurfer, FastSurfer and SAMSEG in a subject's folder."""
    mri = folder / "mri"
    for name, program in _IN_MRI:
        labels = mri / name
        if labels.is_file():
            references = (mri / reference for reference in _REFERENCES)
            reference = next((path for path in references if path.is_file()), None)
            return Existing(labels, program, reference, in_t1w=reference is None)
    for labels in (folder / "seg.mgz", folder / "anat" / "seg.mgz"):
        if labels.is_file():
            reference = labels.with_name("mode01_bias_corrected.mgz")
            return Existing(labels, "SAMSEG", reference if reference.is_file() else None)
    return None


def _in_bids(folder: Path, participant: str, session: str | None) -> Existing | None:
    """Look for label images under BIDS names, and for SynthSeg's `*_synthseg`."""
    for path in _of_session(folder, participant, session):
        stem = path.name.lower().partition(".")[0]
        if "_space-mni" in stem or "_hemi-" in stem:
            continue
        in_t1w = "_t1w" in stem
        if "synthseg" in stem:
            return Existing(path, "SynthSeg", in_t1w=in_t1w)
        if "samseg" in stem:
            return Existing(path, "SAMSEG", in_t1w=in_t1w)
        if stem.endswith(("desc-aseg_dseg", "desc-aparcaseg_dseg")) and not _is_own(path):
            # The T1w of fMRIPrep and sMRIPrep: the mean of all sessions', or that of another session.
            image = path.with_name(path.name.rpartition("_desc-")[0] + "_desc-preproc_T1w.nii.gz")
            reference = image if image.is_file() else None
            return Existing(path, "FreeSurfer", reference, in_t1w=reference is None)
    return None


def _of_session(folder: Path, participant: str, session: str | None) -> list[Path]:
    """Return a participant's images: this session's, then those that name none; another session's never."""
    paths = [
        path
        for place in (folder / "anat", folder)
        for kind in ("nii.gz", "mgz")
        for path in sorted(place.glob(f"sub-{participant}*.{kind}"))
    ]
    own = [path for path in paths if session is not None and f"_ses-{session}_" in path.name]
    return own + [path for path in paths if "_ses-" not in path.name]


def _is_own(labels: Path) -> bool:
    """Tell whether this app wrote labels: were they read back, no run would find its results unchanged."""
    try:
        sidecar = read_json(labels.with_name(labels.name.partition(".")[0] + ".json"))
    except EPVSError:
        return False
    return str(sidecar.get("SoftwareVersions")).startswith("epvs-bids ")
