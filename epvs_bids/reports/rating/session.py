"""What one rater has read so far, as values: no files, no clock."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from epvs_bids.errors import BadDataError, UsageError
from epvs_bids.files import MISSING
from epvs_bids.reports.rating.plan import shuffled_plan
from epvs_bids.reports.rating.slab import Point, Slab

OPEN, DONE, UNRATABLE = "open", "done", "unratable"
STATES = (OPEN, DONE, UNRATABLE)
MAX_MARKS = 500
FORMAT = 1
NOBODY = frozenset(
    {
        *("rater", "r", "reader", "observer", "expert", "annotator", "radiologist", "rating", "reading"),
        *("count", "counts", "number", "n", "score", "scores", "visual", "epvs", "pvs", "bg"),
    }
)
"""Words of a column's name that say what it holds, not whose it is: `rater1` and `rater2` are two people."""
_RATER = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,30}[A-Za-z])?")


@dataclass(frozen=True)
class Reading:
    """One look of one rater at one scan.

    Parameters
    ----------
    scan
        Name of the scan.
    number
        1 for the first reading, 2 for the repeat.
    state
        `open` (not finished), `done`, or `unratable` (the rater could not count).
    marks
        Clicked EPVS, template millimetres (RAS).
    level
        Height (template mm) of the slice that is counted; None: the commissure's.
    image
        File name of the image that was read; empty where nothing is marked yet, or where it was not kept.
    """

    scan: str
    number: int
    state: str = OPEN
    marks: tuple[Point, ...] = ()
    level: float | None = None
    image: str = ""

    @property
    def count(self) -> str:
        """What the table of counts says of it: the number of marks, `n/a` unless it is done."""
        return str(len(self.marks)) if self.state == DONE else MISSING


@dataclass(frozen=True)
class Session:
    """All readings of one rater, in their order."""

    rater: str
    seed: int
    repeats: float
    readings: tuple[Reading, ...]


def check_rater(name: str) -> str:
    """Return a rater's name if it can be the start of a column name.

    Raises
    ------
    UsageError
        When it can't: up to 32 letters, digits and hyphens, a letter first and last (the number of the
        reading follows), and no `potter` in it, by which the group level knows columns of Potter classes;
        or where it names nobody, as `R` or `rater`: the group level takes `R1` and `R2` for two people.
    """
    if not _RATER.fullmatch(name) or "potter" in name.lower() or not is_a_name(name):
        raise UsageError(
            f"{name!r} can't be a rater's name: use up to 32 letters, digits and hyphens, a letter first "
            "and last; a name or initials, not R, rater, count and the like, nor the word Potter."
        )
    return name


def is_a_name(text: str) -> bool:
    """Whether a column's name without its number says whose it is, not only what it holds."""
    return any(word not in NOBODY for word in re.split(r"[\W_]+", text.lower()) if word)


def column(rater: str, number: int) -> str:
    """Name of the column of a rater's first (1) or second (2) reading: `A1`, `A2`."""
    return f"{rater}{number}"


def extended(session: Session, names: Sequence[str]) -> Session:
    """Add the scans that a session does not have yet behind what it waits for, with repeats among both.

    What is over goes first, then what waits, each in its order; scans that are not in `names` can't be read
    now and count as over.
    """
    new = sorted(set(names).difference(one.scan for one in session.readings))
    if not new:
        return session
    there = set(names)
    waiting = {
        (one.scan, one.number): one for one in session.readings if one.state == OPEN and one.scan in there
    }
    over = [one for one in session.readings if (one.scan, one.number) not in waiting]
    plan = shuffled_plan(
        new,
        rater=session.rater,
        seed=session.seed,
        repeats=session.repeats,
        over=[(one.scan, one.number) for one in over],
        waiting=list(waiting),
    )
    return replace(session, readings=(*over, *(waiting.get(step, Reading(*step)) for step in plan)))


def with_reading(session: Session, index: int, reading: Reading) -> Session:
    """Replace one reading."""
    readings = list(session.readings)
    readings[index] = reading
    return replace(session, readings=tuple(readings))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _point(value: object) -> Point:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("a mark needs x, y and z")
    return (_number(value[0]), _number(value[1]), _number(value[2]))


def _filled(reading: Reading, content: Mapping[str, Any]) -> Reading:
    marks, state, level = content["marks"], content["state"], content["level"]
    if not isinstance(marks, list) or len(marks) > MAX_MARKS:
        raise ValueError(f"marks: a list of at most {MAX_MARKS}")
    if state not in STATES:
        raise ValueError(f"{state!r} is no state of a reading")
    points = tuple(_point(mark) for mark in marks)
    return replace(reading, state=str(state), marks=points, level=None if level is None else _number(level))


def parse_reading(reading: Reading, content: object, slab: Slab) -> Reading:
    """Check what the page sent and put it into a reading.

    Parameters
    ----------
    reading
        The reading so far.
    content
        `{"marks": [[x, y, z], …], "level": z, "state": …}`.
    slab
        What the page shows; marks lie in it, on the slice that is counted.

    Raises
    ------
    BadDataError
        When something is missing, no number, or outside the slab.
    """
    try:
        if not isinstance(content, dict):
            raise ValueError("not an object")
        new = _filled(reading, content)
    except (KeyError, ValueError) as error:
        raise BadDataError(f"This is not a reading: {error}.") from error
    level = slab.level if new.level is None else slab.nearest_height(new.level)
    if any(not slab.holds(mark) or abs(mark[2] - level) > slab.spacing[2] / 2 for mark in new.marks):
        raise BadDataError("A mark lies outside the slice that is counted.")
    if new.state == UNRATABLE and new.marks:
        raise BadDataError("A scan that can't be rated has no marks.")
    return replace(new, level=level)


def to_dict(session: Session) -> dict[str, Any]:
    """Turn a session into what its state file holds."""
    readings = [{**asdict(one), "marks": [list(mark) for mark in one.marks]} for one in session.readings]
    return {
        "format": FORMAT,
        "rater": session.rater,
        "seed": session.seed,
        "repeats": session.repeats,
        "readings": readings,
    }


def from_dict(content: Mapping[str, Any]) -> Session:
    """Read a session back.

    Raises
    ------
    BadDataError
        When it was written by another version or has been damaged.
    """
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this version reads {FORMAT}")
        readings = []
        for one in content["readings"]:
            image = one.get("image", "")  # older states don't name it
            if one["number"] not in (1, 2) or not isinstance(one["scan"], str) or not isinstance(image, str):
                raise ValueError("a reading without a scan, number or image")
            readings.append(_filled(Reading(one["scan"], one["number"], image=image), one))
        seed, repeats = int(_number(content["seed"])), _number(content["repeats"])
        return Session(check_rater(str(content["rater"])), seed, repeats, tuple(readings))
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise BadDataError(f"not a state of epvs-rate ({error})") from error
