"""FreeSurfer on a T1w scan, as far as the subcortical labels: no surfaces, which saves hours."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from epvs_bids.anatomy.programs import run_program
from epvs_bids.errors import BadDataError, MissingInputError

_LICENCE_LINES = 4


def freesurfer_commands(t1w: Path, subject: str, subjects_dir: Path, *, threads: int = 1) -> list[list[str]]:
    """
    Return the commands that lead from a T1w scan to `mri/aseg.presurf.mgz`, in their order.

    Parameters
    ----------
    t1w
        The scan.
    subject, subjects_dir
        Name and folder of the FreeSurfer subject.
    threads
        Number of threads.

    Returns
    -------
    commands
        `recon-all -autorecon1` with a preflooding height of 10 for skull stripping, as in the paper; then the
        stages from the registration to the atlas up to the subcortical labels.
    """
    subject_words = ["-s", subject, "-sd", str(subjects_dir), "-openmp", str(threads)]
    return [
        ["recon-all", "-i", str(t1w), *subject_words, "-autorecon1", "-wsthresh", "10"],
        ["recon-all", *subject_words, "-gcareg", "-canorm", "-careg", "-calabel"],
    ]


def find_licence(given: Path | None) -> Path | None:
    """
    Return a FreeSurfer licence that looks like one.

    Parameters
    ----------
    given
        The path that the user gave; when given, no other place is tried.

    Returns
    -------
    licence
        `given`, else FS_LICENSE, else `license.txt` or `.license` in FREESURFER_HOME; else `None`.

    Raises
    ------
    MissingInputError
        The file given is not there.
    BadDataError
        The file given is not a licence.
    """
    if given is not None:
        if not given.is_file():
            raise MissingInputError(f"FreeSurfer licence: no file {given}.")
        if not _looks_like_licence(given):
            raise BadDataError(
                f"{given}: not a FreeSurfer licence (an e-mail address and three lines of codes). "
                "Get one, free of charge, at https://surfer.nmr.mgh.harvard.edu/registration.html"
            )
        return given
    home = Path(os.environ.get("FREESURFER_HOME", "/nonexistent"))
    named = os.environ.get("FS_LICENSE")
    places = [*([Path(named)] if named else []), home / "license.txt", home / ".license"]
    return next((place for place in places if place.is_file() and _looks_like_licence(place)), None)


def can_run() -> bool:
    """Tell whether FreeSurfer's `recon-all` is installed and set up."""
    return shutil.which("recon-all") is not None and "FREESURFER_HOME" in os.environ


def run_freesurfer(t1w: Path, folder: Path, *, licence: Path | None, threads: int = 1) -> tuple[Path, Path]:
    """
    Run FreeSurfer as far as the subcortical labels.

    Parameters
    ----------
    t1w
        The T1w scan.
    folder
        Where the FreeSurfer subject is made.
    licence
        As `find_licence` takes it.
    threads
        Number of threads.

    Returns
    -------
    labels, reference
        Paths of the labels and of the T1w image on their grid.

    Raises
    ------
    MissingInputError
        No `recon-all`, or no licence.
    TryAgainError, BadDataError
        It was killed, or it failed.
    """
    if not can_run():
        raise MissingInputError(
            "FreeSurfer is not set up: recon-all is not on the PATH, or FREESURFER_HOME is not set. Source "
            "its set-up script, or leave out --segmentation freesurfer."
        )
    found = find_licence(licence)
    if found is None:
        raise MissingInputError(
            "FreeSurfer needs a licence file: give it with --fs-license-file or FS_LICENSE. It is free of "
            "charge at https://surfer.nmr.mgh.harvard.edu/registration.html"
        )
    subjects_dir = folder / "freesurfer"
    if subjects_dir.exists():  # recon-all -i refuses a subject that was begun
        shutil.rmtree(subjects_dir)
    subjects_dir.mkdir(parents=True)
    for command in freesurfer_commands(t1w, "subject", subjects_dir, threads=threads):
        run_program(
            command, log=folder / "freesurfer.log", threads=threads, variables={"FS_LICENSE": str(found)}
        )
    mri = subjects_dir / "subject" / "mri"
    labels = mri / "aseg.presurf.mgz"
    if not labels.is_file():
        raise BadDataError(f"recon-all ended without labels; its output: {folder / 'freesurfer.log'}")
    return labels, mri / "orig.mgz"


def _looks_like_licence(path: Path) -> bool:
    """Tell whether a file has an e-mail address and the lines of codes that follow it."""
    try:
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return False
    return len(lines) >= _LICENCE_LINES and "@" in lines[0]
