"""A pybids index of only the files that are asked for.

A plain `BIDSLayout` looks at every file of a data set, which takes minutes for a thousand participants.
Here the `anat` folders of the wanted participants are listed with `os.scandir` and only their images (and,
where a filter needs them, the sidecars) are handed to pybids, which then answers queries as it always does.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bids.exceptions import BIDSValidationError
from bids.layout import BIDSLayout, BIDSLayoutIndexer
from sqlalchemy.exc import SQLAlchemyError

from epvs_bids.errors import BadDataError, EPVSError, InputOutputError
from epvs_bids.files import cannot_create, make_folder, read_json

_LOGGER = logging.getLogger(__name__)

IMAGES = (".nii", ".nii.gz")
_DATABASE = "layout_index.sqlite"


def index_anatomy(bids_dir: Path, participants: Iterable[str], *, metadata: bool = False) -> BIDSLayout:
    """Index the anatomical images of some participants, in memory; those that can't be read are left out.

    Parameters
    ----------
    bids_dir
        The data set.
    participants
        Labels without `sub-`.
    metadata
        Whether sidecars are read too, so that filters may name their fields.
    """
    files = _files(bids_dir, participants, metadata=metadata)
    return _layout(bids_dir, files, metadata=metadata)


def open_database(bids_dir: Path, folder: Path, participants: Sequence[str]) -> BIDSLayout:
    """Open the pybids index kept in a folder, making it first where there is none.

    Parameters
    ----------
    bids_dir
        The data set.
    folder
        Where `layout_index.sqlite` is kept; a new one holds the `anat` folders of all `participants`.
    participants
        Labels of all participants of the data set, without `sub-`.

    Raises
    ------
    BadDataError
        When the index is damaged or of another data set.
    """
    if not (folder / _DATABASE).exists():
        _make_database(bids_dir, folder, participants)
    try:
        layout = BIDSLayout(bids_dir, database_path=folder, validate=False)
        layout.get(subject="none")
    except (SQLAlchemyError, sqlite3.Error, AttributeError, KeyError, ValueError) as error:
        remedy = "Remove it, or give another --bids-database-dir."
        raise BadDataError(f"{folder / _DATABASE} can't be used as a pybids index. {remedy}") from error
    if Path(str(layout.root)).resolve() != bids_dir.resolve():
        raise BadDataError(
            f"{folder / _DATABASE} is the index of {layout.root}, not of {bids_dir}. "
            "Remove it, or give another --bids-database-dir."
        )
    return layout


def _make_database(bids_dir: Path, folder: Path, participants: Sequence[str]) -> None:
    """Write the index aside and move it into place, so that no other job sees a part of it."""
    aside = make_folder(folder) / f".new-{secrets.token_hex(4)}"
    files = _files(bids_dir, participants, metadata=True, index=folder / _DATABASE)
    try:
        make_folder(aside)
        _layout(bids_dir, files, metadata=True, database_path=aside)
        (aside / _DATABASE).replace(folder / _DATABASE)
    except OSError as error:
        raise cannot_create(folder / _DATABASE, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _layout(bids_dir: Path, files: Sequence[Path], *, metadata: bool, **options: Any) -> BIDSLayout:  # noqa: ANN401
    indexer = _ListIndexer(files, index_metadata=metadata)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of missing dataset_description.json: said elsewhere, by name
            return BIDSLayout(bids_dir, validate=False, indexer=indexer, **options)
    except (BIDSValidationError, ValueError) as error:
        raise BadDataError(f"pybids can't read the data set {bids_dir}: {error}.") from error
    except OSError as error:  # pybids wraps JSON errors of sidecars in OSError
        sound = [file for file in files if file.suffix != ".json" or _is_sound(file)]
        if len(sound) == len(files):
            raise BadDataError(f"pybids can't read the data set {bids_dir}: {error}.") from error
        return _layout(bids_dir, sound, metadata=metadata, **{**options, "reset_database": True})


def _is_sound(sidecar: Path) -> bool:
    """Tell whether a sidecar can be read; one that can't is named and passed over."""
    try:
        read_json(sidecar)
    except EPVSError as error:
        _LOGGER.warning("%s Filters do not see its fields.", error)
        return False
    return True


class _ListIndexer(BIDSLayoutIndexer):  # type: ignore[misc]
    """Indexes the files it is given; does not walk."""

    def __init__(self, files: Sequence[Path], *, index_metadata: bool) -> None:
        super().__init__(validate=False, index_metadata=index_metadata)
        self._files = files

    def _index_dir(self, path: Any, config: Any, force: Any = None) -> tuple[list[Any], list[Any]]:  # noqa: ANN401
        entities = {name: entity for one in config for name, entity in one.entities.items()}
        indexed = [self._index_file(path / os.fspath(file), entities) for file in self._files]
        return [file for file, _ in indexed], [tag for _, tags in indexed for tag in tags]


def _files(
    bids_dir: Path, participants: Iterable[str], *, metadata: bool, index: Path | None = None
) -> list[Path]:
    """List what is indexed of the participants that can be read; `index` is the file that keeps it."""
    files = []
    for label in participants:
        try:
            files += list(_participant_files(bids_dir / f"sub-{label}", metadata))
        except InputOutputError as error:  # `find_scans` makes it this participant's outcome
            if index:
                remedy = "Remove that, too, once the folder can be read."
                _LOGGER.warning("%s sub-%s is left out of %s. %s", error, label, index, remedy)
    if metadata:
        files += [path for path in _entries(bids_dir) if path.name.endswith(".json")]
    return files


def why_unreadable(folder: Path) -> str | None:
    """Say why the folders of a participant can't be read, and what to do; None where they can."""
    try:
        list(_participant_files(folder, metadata=False))
    except InputOutputError as error:
        return str(error)
    return None


def _participant_files(folder: Path, metadata: bool) -> Iterator[Path]:
    """List the images below `anat` of a participant and its sessions, with their sidecars if wanted."""
    endings = (*IMAGES, ".json") if metadata else IMAGES
    homes = [folder, *(path for path in _entries(folder) if path.name.startswith("ses-"))]
    for home in homes:
        if metadata:
            yield from (path for path in _entries(home) if path.name.endswith(".json"))
        yield from (path for path in _entries(home / "anat") if path.name.endswith(endings))


def _entries(folder: Path) -> list[Path]:
    """List a folder in order of names, hidden and unspeakable files left out; empty where there is none."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(Path(entry.path) for entry in entries if not entry.name.startswith("."))
            return [path for path in found if _is_text(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        remedy = "Check its permissions, and the disk that it lies on."
        raise InputOutputError(f"Cannot read the folder {folder}: {error.strerror}. {remedy}") from error


def _is_text(path: Path) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:  # pybids' database can't hold it
        _LOGGER.warning("%r is passed over: its name is not UTF-8 text.", str(path))
        return False
    return True


def participants_of(bids_dir: Path) -> list[str]:
    """Return the labels, without `sub-`, of the participants' folders of a data set, in order."""
    labels = []
    for path in _entries(bids_dir):
        with suppress(OSError):
            if path.name.startswith("sub-") and path.is_dir():
                labels.append(path.name.removeprefix("sub-"))
    return labels
