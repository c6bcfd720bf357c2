"""Whether the folders given can be worked with, and whether the input is valid BIDS."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from epvs_bids.errors import CannotCreateError, InputOutputError, InvalidBIDSError, MissingInputError
from epvs_bids.files import atomic_write, read_json

_LOGGER = logging.getLogger(__name__)

_SHOWN = 5
_IN_PARTICIPANT = re.compile(r"/?sub-[^/]+/")


def check_folders(bids_dir: Path, writable: Mapping[str, Path]) -> None:
    """Check the input folder and those that are written to.

    Parameters
    ----------
    bids_dir
        The data set; nothing below it is ever written.
    writable
        Folders that are written to, by what the user calls them (`output_dir`, `-w` …); they are created.

    Raises
    ------
    MissingInputError
        There is no such data set.
    InvalidBIDSError
        It is the folder of a single participant.
    CannotCreateError
        A folder to write to is, or lies in, the input; or can't be written to.
    """
    if not bids_dir.is_dir():
        what = "is a file, not a folder" if bids_dir.exists() else "does not exist"
        raise MissingInputError(f"bids_dir {bids_dir} {what}.")
    if not os.access(bids_dir, os.R_OK | os.X_OK):
        raise InputOutputError(f"bids_dir {bids_dir} can't be read: no permission.")
    _refuse_single_participant(bids_dir)
    for name, folder in writable.items():
        refuse_inside(bids_dir, name, folder)
    for folder in writable.values():
        _try_writing(folder)


def check_given(folders: Mapping[str, Sequence[Path]]) -> None:
    """Check folders that the user named to be read from: a misspelt one would only seem to hold nothing.

    Parameters
    ----------
    folders
        By the option that they were given with.

    Raises
    ------
    MissingInputError
        One does not exist, or is no folder.
    InputOutputError
        One can't be read.
    """
    for option, given in folders.items():
        for folder in given:
            if not folder.is_dir():
                what = "is a file, not a folder" if folder.exists() else "does not exist"
                raise MissingInputError(f"{option} {folder} {what}. Correct the path, or leave {option} out.")
            if not os.access(folder, os.R_OK | os.X_OK):
                raise InputOutputError(f"{option} {folder} can't be read: no permission.")


def _refuse_single_participant(bids_dir: Path) -> None:
    has_participants = any(bids_dir.glob("sub-*"))
    if bids_dir.name.startswith(("sub-", "ses-")) and not has_participants:
        data_set = bids_dir.parent.parent if bids_dir.name.startswith("ses-") else bids_dir.parent
        raise InvalidBIDSError(
            f"{bids_dir} is the folder of one participant or session, not a data set. "
            f"Give {data_set} and choose with --participant-label."
        )


def refuse_inside(bids_dir: Path, name: str, folder: Path) -> None:
    """Refuse a folder to write to that is, or lies in, the input.

    Parameters
    ----------
    bids_dir
        The data set.
    name
        What the user calls the folder (`output_dir`, `-w` …).
    folder
        The folder.

    Raises
    ------
    CannotCreateError
        With another folder to choose.
    """
    inside, outside = folder.resolve(), bids_dir.resolve()
    if inside == outside:
        raise CannotCreateError(f"{name} and bids_dir are the same folder, {folder}. Choose another {name}.")
    if outside in inside.parents:
        raise CannotCreateError(
            f"{name} {folder} lies inside bids_dir, which is never written to. Choose a folder outside it, "
            f"such as {outside.parent / (outside.name + '-epvs')}."
        )


def _try_writing(folder: Path) -> None:
    """Write and remove a file: permissions alone do not tell about read-only mounts and quotas."""
    probe = folder / f"probe-{os.getpid()}"
    with atomic_write(probe) as temporary:
        temporary.touch()
    probe.unlink(missing_ok=True)


def check_description(bids_dir: Path) -> None:
    """Check that there is a `dataset_description.json` that can be read.

    Raises
    ------
    InvalidBIDSError
        When not.
    """
    path = bids_dir / "dataset_description.json"
    try:
        read_json(path)
    except MissingInputError as error:
        raise InvalidBIDSError(
            f"{bids_dir} has no dataset_description.json: it is no BIDS data set."
        ) from error
    except Exception as error:
        raise InvalidBIDSError(str(error)) from error


def validate(bids_dir: Path) -> None:
    """Run the BIDS validator on the input.

    Errors in a participant's folder are logged and left to that participant, which may still have a scan that
    is fine; errors of the data set as a whole end the run.

    Parameters
    ----------
    bids_dir
        The data set.

    Raises
    ------
    InvalidBIDSError
        When the data set as a whole is not valid.
    """
    check_description(bids_dir)
    issues = run_validator(bids_dir)
    if issues is None:
        return
    errors = [issue for issue in issues if issue.get("severity") == "error"]
    mine = [issue for issue in errors if not _IN_PARTICIPANT.match(str(issue.get("location", "")))]
    if mine:
        raise InvalidBIDSError(
            f"{bids_dir} is not valid BIDS:\n{_listing(mine)}\n"
            "Correct it, list files that are no part of it in .bidsignore, or give --skip-bids-validation."
        )
    if errors:
        _LOGGER.warning("The BIDS validator finds errors in participants' folders:\n%s", _listing(errors))


def run_validator(data_set: Path) -> list[dict[str, Any]] | None:
    """Run `bids-validator-deno` and return its issues; None, with a warning, where it can't run.

    Parameters
    ----------
    data_set
        A raw or derivative data set.
    """
    command = find_validator()
    if command is None:
        _LOGGER.warning("bids-validator-deno is not installed: the data set is not validated.")
        return None
    with tempfile.TemporaryDirectory(prefix="epvs-validator-") as scratch:
        result = Path(scratch) / "issues.json"
        arguments = [
            str(command),
            "--format",
            "json",
            "--ignoreWarnings",
            "--outfile",
            str(result),
            str(data_set),
        ]
        environment = {**os.environ, "DENO_DIR": os.environ.get("DENO_DIR", scratch), "NO_COLOR": "1"}
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
        try:
            report = json.loads(result.read_text(encoding="utf-8"))
            return list(report["issues"]["issues"])
        except (OSError, ValueError, KeyError, TypeError):
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            _LOGGER.warning(
                "The BIDS validator did not run (%s): going on without.", " ".join(said) or "no output"
            )
            return None


def find_validator() -> Path | None:
    """Return the command `bids-validator-deno`: beside this Python, else on the PATH."""
    beside = Path(sys.executable).with_name("bids-validator-deno")
    found = str(beside) if beside.exists() else shutil.which("bids-validator-deno")
    return Path(found) if found else None


def _listing(issues: Iterable[Mapping[str, Any]]) -> str:
    lines = []
    for issue in issues:
        code = ".".join(str(issue[key]) for key in ("code", "subCode") if issue.get(key))
        message = str(issue.get("issueMessage") or "").strip().splitlines()
        lines.append(f"  {issue.get('location', '')}: {code}{': ' + message[0] if message else ''}")
    more = [f"  … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join(lines[:_SHOWN] + more)
