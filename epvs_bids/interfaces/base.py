"""What our Nipype interfaces have in common: they say in a file why they failed."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import SimpleInterface
from numpy.typing import NDArray

from epvs_bids import errors
from epvs_bids.anatomy.image_files import open_image
from epvs_bids.anatomy.images import Volume
from epvs_bids.errors import EPVSError, TryAgainError
from epvs_bids.files import cannot_create, write_json

FAILURE = "failure.json"
"""Written into a node's folder when it fails; the run's table of results is made from it."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Stage(SimpleInterface):
    """A step of the way from scan to score; derived classes implement `work`."""

    def work(self, folder: Path) -> dict[str, Any]:
        """Do the step in an empty folder of its own and return the outputs by name."""
        raise NotImplementedError

    def _run_interface(self, runtime: Any) -> Any:  # noqa: ANN401 - nipype's signature
        folder = Path(runtime.cwd)
        (folder / FAILURE).unlink(missing_ok=True)
        try:
            self._results.update(self.work(folder))
        except Exception as error:
            with suppress(EPVSError, OSError):  # where the disk is full, the traceback has to tell
                write_json(folder / FAILURE, describe_failure(error))
            raise
        return runtime


def describe_failure(error: Exception) -> dict[str, Any]:
    """Return what the user is told about an error, and the exit code that goes with it."""
    if isinstance(error, MemoryError):
        error = TryAgainError("There is not enough memory. Give a smaller --nprocs, or --mem-mb.")
    if isinstance(error, EPVSError):
        return {"reason": " ".join(str(error).split()), "exit_code": error.exit_code}
    reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return {"reason": f"{reason} (unexpected: the crash file in logs tells more)", "exit_code": 1}


def describe_traceback(lines: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return what the user is told about an error of which nothing but its traceback is left.

    Parameters
    ----------
    lines
        The traceback; its last line names the error.
    folder
        Where the step worked, named where the disk is full.
    """
    last = "".join(lines).strip().splitlines()[-1].strip()
    kind, _, text = last.partition(": ")
    known = getattr(errors, kind.rpartition(".")[2], None)
    if isinstance(known, type) and issubclass(known, EPVSError):
        return describe_failure(known(text))
    number = re.match(r"\[Errno (\d+)\]", text)
    if number and int(number[1]) in _FULL:
        return describe_failure(cannot_create(folder, OSError(int(number[1]), text)))
    return {"reason": f"{last} (unexpected: the crash file in logs tells more)", "exit_code": 1}


def read_checked(path: str) -> Volume:
    """Read an image that an earlier step wrote, and so needs no check.

    Of one that is not compressed, only what is used is read from the disk.
    """
    image: Any = nib.load(path) if path.endswith(".nii") else open_image(Path(path))
    data = np.asarray(image.dataobj, dtype=np.float32)
    return Volume(data=data, affine=np.asarray(image.affine, dtype=np.float64), path=Path(path))


def read_mask(path: str) -> NDArray[np.bool_]:
    """Read a mask that an earlier step wrote."""
    image = open_image(Path(path))
    return np.asarray(image.dataobj) > 0
