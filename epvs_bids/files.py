"""Files written whole or not at all, and tables read with errors that name file, row and column."""

from __future__ import annotations

import errno
import io
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from epvs_bids.errors import BadDataError, CannotCreateError, InputOutputError, MissingInputError

MISSING = "n/a"
"""How BIDS tables write a missing value."""

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EACCES: "no permission to write there; choose another folder or change its permissions",
    errno.EPERM: "no permission to write there; choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder or mount it writable",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EFBIG: "it exceeds the limit on file sizes (`ulimit -f`); raise the limit",
    errno.EEXIST: "a file of that name is in the way; choose another folder or remove the file",
    errno.EISDIR: "a folder of that name is in the way",
    errno.ENAMETOOLONG: "the name is too long for the file system",
}


def cannot_create(path: Path, error: OSError) -> CannotCreateError:
    """Translate an error of the operating system into one that names the file and the remedy.

    Parameters
    ----------
    path
        What was to be written.
    error
        What the operating system said.
    """
    remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
    return CannotCreateError(f"Cannot write {path}: {remedy}.")


def make_folder(path: Path) -> Path:
    """Create a folder and its parents, and return it.

    Raises
    ------
    CannotCreateError
        When the operating system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_create(path, error) from error
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it when the block ends well and is removed when not.

    The temporary name starts with a dot and keeps the extensions (`.nii.gz`), by which writers know the
    format. Readers see the old file or the new one, never a part of it, also when two jobs write the same.

    Parameters
    ----------
    path
        The file to write; its folder is created.

    Raises
    ------
    CannotCreateError
        When there is no permission, no space, or the folder can't be made.
    """
    make_folder(path.parent)
    stem, dot, extensions = path.name.lstrip(".").partition(".")
    temporary = path.with_name(f".{stem[:100]}.{secrets.token_hex(4)}.tmp{dot}{extensions}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno in _REMEDIES:
            raise cannot_create(path, error) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; an identical file is left as it is, so that its time stamp stays true."""
    # Names of files may be any bytes, and JSON may hold half a character.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write an object as indented JSON, atomically; paths become strings, NaN is refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    MissingInputError
        When there is no such file.
    BadDataError
        When it is no JSON object.
    """
    try:
        content = json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadDataError(f"{path} is not valid JSON ({error}). Correct or remove it.") from error
    if not isinstance(content, dict):
        raise BadDataError(f"{path} holds a JSON {type(content).__name__} where an object is expected.")
    return content


def write_tsv(
    path: Path, frame: pd.DataFrame, description: Mapping[str, Mapping[str, object]] | None = None
) -> None:
    """Write a table as BIDS does: tabs, `n/a` for missing values, a JSON data dictionary beside it.

    Parameters
    ----------
    path
        A file ending in `.tsv`.
    frame
        The table; its index is not written.
    description
        For each column `{"Description": …, "Units": …, "Levels": …}`; written to the `.json` beside.
    """
    text = frame.to_csv(None, sep="\t", index=False, na_rep=MISSING, lineterminator="\n")
    write_text(path, text)
    if description is not None:
        write_json(path.with_suffix(".json"), description)


def read_tsv(path: Path) -> pd.DataFrame:
    """Read a BIDS table; columns that end in `_id` or `_label` stay text, so that `01` does not become 1.

    Raises
    ------
    MissingInputError
        When there is no such file.
    BadDataError
        When it is empty, ragged, has doubled column names, or is no text.
    """
    text = _read_text(path)
    if not text.strip():
        raise BadDataError(f"{path} is empty; a table with a header row is expected.")
    header = text.lstrip("\ufeff").splitlines()[0].split("\t")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise BadDataError(f"{path} names the column {doubled[0]!r} twice. Rename or remove one.")
    _check_rows(path, text, len(header))
    labels = {name: str for name in header if name.endswith(("_id", "_label"))}
    try:
        return pd.read_csv(
            io.StringIO(text.lstrip("\ufeff")), sep="\t", dtype=labels, na_values=[MISSING], quoting=3
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise BadDataError(f"{path} can't be read as a table: {error}.") from error


def _check_rows(path: Path, text: str, columns: int) -> None:
    for number, line in enumerate(text.splitlines()[1:], start=2):
        if line.strip() and len(line.split("\t")) != columns:
            found = len(line.split("\t"))
            raise BadDataError(f"{path}, row {number}: {found} columns where the header has {columns}.")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if path.is_symlink():
            reason = "a symbolic link that leads nowhere; fetch its content (`datalad get`, `git annex get`)"
            raise MissingInputError(f"{path} is {reason}.") from error
        raise MissingInputError(f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise BadDataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    except OSError as error:
        raise InputOutputError(f"Cannot read {path}: {error.strerror or error}.") from error
