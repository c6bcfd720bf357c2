"""SAMSEG (Puonti et al. 2016), the segmenter that comes with the app: any contrast, no T1w, no licence.

It is called as the command `run_samseg`, which may live in an environment of its own: it needs numpy 1.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from epvs_bids.anatomy.images import Volume, load_labels, save_volume
from epvs_bids.anatomy.initialisation import thin_out
from epvs_bids.anatomy.programs import run_program
from epvs_bids.errors import BadDataError, MissingInputError
from epvs_bids.files import write_json

COMMAND_VARIABLE = "EPVS_RUN_SAMSEG"

_COARSE: dict[str, Any] = {"multiResolutionSpecification": [{}]}
"""Only the first of SAMSEG's two levels: its atlas fitted at 2 mm. Labels are made at full resolution all the
same. docs/segmentation.md has what this gains and costs."""

_SLOPPY: dict[str, Any] = {
    "multiResolutionSpecification": [{"maximumNumberOfIterations": 1, "targetDownsampledVoxelSpacing": 3.0}],
    "maximumNumberOfDeformationIterations": 1,
}
"""Little more than the affine alignment of the atlas."""


def find_samseg() -> Path | None:
    """Return the command: named by `EPVS_RUN_SAMSEG`, else beside this Python, else on the PATH."""
    named = os.environ.get(COMMAND_VARIABLE)
    if named:
        return Path(named) if os.access(named, os.X_OK) else None
    beside = Path(sys.executable).parent / "run_samseg"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("run_samseg")
    return Path(found) if found else None


def run_samseg(scan: Volume, folder: Path, *, threads: int = 1, sloppy: bool = False) -> Path:
    """
    Segment a scan, the pallidum modelled apart from white matter, as SAMSEG asks for with T2-like contrast.

    Parameters
    ----------
    scan
        The scan. Voxels below 0.5 mm are averaged to at most 1 mm first: SAMSEG keeps some forty numbers a
        voxel.
    folder
        Where SAMSEG writes; made where missing.
    threads
        Number of threads.
    sloppy
        Quick and rough, for trials.

    Returns
    -------
    labels
        Path of `seg.mgz`, in the scanner coordinates of the scan.

    Raises
    ------
    MissingInputError
        There is no `run_samseg`.
    TryAgainError, BadDataError
        It was killed, or it failed.
    """
    command = find_samseg()
    if command is None:
        raise MissingInputError(
            "SAMSEG is not installed. `make` installs it where Python 3.11 and a C++ compiler are there; "
            "else install it (`pip install samseg==0.4a0`) in an environment of its own and set "
            f"{COMMAND_VARIABLE} to its run_samseg, or give results of FreeSurfer, FastSurfer or SynthSeg "
            "with --derivatives."
        )
    folder.mkdir(parents=True, exist_ok=True)
    small = thin_out(scan.data, scan.affine, None)
    save_volume(folder / "input.nii", small.data, small.affine)
    write_json(folder / "options.json", {"optimizationOptions": _SLOPPY if sloppy else _COARSE})
    arguments: list[str | Path] = [command, "-i", folder / "input.nii", "-o", folder]
    arguments += ["--options", folder / "options.json", "--threads", str(threads), "--pallidum-separate"]
    run_program(arguments, log=folder / "samseg.log", threads=threads)
    labels = folder / "seg.mgz"
    if not labels.is_file():
        raise BadDataError(f"SAMSEG ended without labels; its output: {folder / 'samseg.log'}")
    load_labels(labels)
    return labels
