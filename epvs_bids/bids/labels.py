"""Labels of participants and sessions, as people write them in tables."""

from __future__ import annotations

from collections.abc import Callable, Collection

from epvs_bids.files import MISSING

_NO_LABEL = ("", MISSING, "na", "nan")


def with_prefix(text: str, prefix: str) -> str:
    """`01` and `sub-01` both as `sub-01` (`prefix` being `sub`); an empty string for a missing value."""
    label = text.strip()
    return "" if label.lower() in _NO_LABEL else f"{prefix}-{label.removeprefix(f'{prefix}-')}"


def without_zeros(label: str) -> str:
    """Label of a participant without `sub-` and its leading zeros, which spreadsheets drop."""
    return label.removeprefix("sub-").lstrip("0")


def as_known(known: Collection[str]) -> Callable[[str], str]:
    """Make the function that reads a table's participant as one of the data set.

    `sub-1` stands for `sub-01` where only that one fits; other labels are returned as they are.

    Parameters
    ----------
    known
        Participants of the data set, `sub-…`.
    """
    same: dict[str, list[str]] = {}
    for label in known:
        same.setdefault(without_zeros(label), []).append(label)

    def read(label: str) -> str:
        fitting = same.get(without_zeros(label), []) if label else []
        return fitting[0] if label not in known and len(fitting) == 1 else label

    return read
