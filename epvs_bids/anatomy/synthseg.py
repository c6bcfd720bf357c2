"""SynthSeg (Billot et al. 2023) where FreeSurfer 7.3 or later is installed: any contrast and resolution."""

from __future__ import annotations

import shutil
from pathlib import Path

from epvs_bids.anatomy.programs import run_program
from epvs_bids.errors import BadDataError, MissingInputError


def synthseg_command(scan: Path, out: Path, *, threads: int = 1, sloppy: bool = False) -> list[str]:
    """
    Return the command that segments a scan.

    Parameters
    ----------
    scan, out
        The scan, and the label image to write (1 mm, in the scan's scanner coordinates).
    threads
        Number of threads.
    sloppy
        Skips some of SynthSeg's postprocessing (`--fast`).
    """
    fast = ["--fast"] if sloppy else []
    return ["mri_synthseg", "--i", str(scan), "--o", str(out), "--threads", str(threads), "--cpu", *fast]


def run_synthseg(scan: Path, folder: Path, *, threads: int = 1, sloppy: bool = False) -> Path:
    """
    Segment a scan with `mri_synthseg`.

    Parameters
    ----------
    scan
        The scan.
    folder
        Where the labels and the log go.
    threads, sloppy
        As in `synthseg_command`.

    Returns
    -------
    labels
        Path of the label image.

    Raises
    ------
    MissingInputError
        There is no `mri_synthseg`.
    TryAgainError, BadDataError
        It was killed, or it failed.
    """
    if shutil.which("mri_synthseg") is None:
        raise MissingInputError(
            "mri_synthseg is not on the PATH. Install FreeSurfer 7.3 or later and source its set-up script, "
            "or leave out --segmentation synthseg."
        )
    out = folder / "synthseg.nii.gz"
    run_program(
        synthseg_command(scan, out, threads=threads, sloppy=sloppy),
        log=folder / "synthseg.log",
        threads=threads,
    )
    if not out.is_file():
        raise BadDataError(f"mri_synthseg ended without labels; its output: {folder / 'synthseg.log'}")
    return out
