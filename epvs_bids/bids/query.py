"""Which scans of a data set are scored, and why others are not.

Of each session one scan is taken: the first kind of `PDw`, `T2w`, `PDT2` that is there; within it, the file
without `part-phase` and with the fewest of the entities `rec`, `acq`, `echo` …, then the first by name (so
`run-1` before `run-2`). What was passed over is logged; `--bids-filter-file` chooses otherwise.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout
from sqlalchemy.exc import SQLAlchemyError

from epvs_bids.bids.filters import QUERIES, Filters
from epvs_bids.bids.index import IMAGES, index_anatomy, open_database, participants_of, why_unreadable
from epvs_bids.bids.scan import Scan
from epvs_bids.errors import BadDataError, EmptySelectionError, EPVSError, InputOutputError
from epvs_bids.files import read_json

_LOGGER = logging.getLogger(__name__)

CONTRASTS = ("PDw", "T2w", "PDT2")
_UNUSABLE_PARTS = ("phase", "real", "imag")
_NAME = re.compile(r"sub-(?P<participant>[A-Za-z0-9+]+)(?:_ses-(?P<session>[A-Za-z0-9+]+))?(?:_[^_]+)*")


@dataclass(frozen=True)
class Unavailable:
    """A participant that has no scan to score.

    Attributes
    ----------
    participant
        Label without `sub-`.
    reason
        One sentence for the user.
    asked
        Whether the label was asked for, which makes its absence a failure.
    elsewhere
        Whether there is a scan in a session that was not asked for.
    unreadable
        Whether its folders can't be read, which is a failure whether it was asked for or not.
    """

    participant: str
    reason: str
    asked: bool
    elsewhere: bool = False
    unreadable: bool = False


@dataclass(frozen=True)
class Selection:
    """The scans to score, and the participants without any."""

    scans: tuple[Scan, ...]
    unavailable: tuple[Unavailable, ...]


def find_scans(
    bids_dir: Path,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    filters: Filters = QUERIES,
    contrast: str = "auto",
    database: Path | None = None,
) -> Selection:
    """Find the scan of each session of the wanted participants.

    A participant with a folder that can't be read has none: what it holds might change the choice.

    Parameters
    ----------
    bids_dir
        The data set.
    participants, sessions
        Labels without prefix; empty for all.
    filters
        pybids queries by kind of scan, from `read_filters`.
    contrast
        `auto`, or the one of `CONTRASTS` to take.
    database
        Folder of a kept pybids index.

    Raises
    ------
    EmptySelectionError
        When nothing is left; the text says what there is.
    InputOutputError
        When nothing is left, and folders can't be read.
    """
    known = participants_of(bids_dir)
    if not known:
        raise EmptySelectionError(f"{bids_dir} holds no participant (no folder sub-*).")
    wanted = [label for label in participants if label in known] if participants else known
    unknown = [
        Unavailable(label, _unknown_label(label, known), asked=True)
        for label in participants
        if label not in known
    ]
    layout = _layout(bids_dir, wanted, known, filters, database)
    scans, unavailable = [], list(unknown)
    found = _by_session(layout, wanted, filters, CONTRASTS if contrast == "auto" else (contrast,))
    t1ws = _images(layout, wanted, filters["t1w"])
    for label in wanted:
        there = found.get(label, {})
        mine = [session for session in sorted(there) if not sessions or session in sessions]
        scans += [_scan(_best(there[session]), t1ws) for session in mine]
        if not mine:
            folder, asked = bids_dir / f"sub-{label}", bool(participants)
            unavailable.append(_unavailable(folder, sessions, contrast, asked=asked, elsewhere=bool(there)))
    if not scans:
        raise _nothing_left(bids_dir, unavailable)
    return Selection(tuple(scans), tuple(unavailable))


def _nothing_left(bids_dir: Path, unavailable: Sequence[Unavailable]) -> EPVSError:
    if locked := [one.reason for one in unavailable if one.unreadable]:
        return InputOutputError(" ".join(locked[:5]))
    reasons = "; ".join(f"sub-{one.participant}: {one.reason}" for one in unavailable[:5])
    return EmptySelectionError(f"The labels and filters select no scan of {bids_dir} ({reasons}).")


def _layout(
    bids_dir: Path, wanted: Sequence[str], known: Sequence[str], filters: Filters, database: Path | None
) -> BIDSLayout:
    if database is not None:
        return open_database(bids_dir, database, known)
    layout = index_anatomy(bids_dir, wanted)
    named = {name for query in filters.values() for name in query} - {"regex_search", "invalid_filters"}
    if named - set(layout.get_entities(metadata=False)):  # a field of a sidecar, such as EchoTime
        return index_anatomy(bids_dir, wanted, metadata=True)
    return layout


def _images(layout: BIDSLayout, participants: Iterable[str], query: Any) -> dict[str, list[Path]]:  # noqa: ANN401
    """Ask pybids, and keep the files whose name agrees with their folder, by participant."""
    try:
        paths = [Path(path) for path in layout.get(return_type="filename", **query)]
    except (ValueError, TypeError, RuntimeError, re.error, SQLAlchemyError) as error:
        what = str(error).partition("\n")[0]  # the rest is SQL
        raise BadDataError(f"The BIDS filters can't be used: {what}") from error
    images: dict[str, list[Path]] = {label: [] for label in participants}
    for path in paths:
        label, _ = labels_of(path)
        if label in images and path.name.endswith(IMAGES) and not misplaced(path):
            images[label].append(path)
    return images


def _by_session(
    layout: BIDSLayout, participants: Sequence[str], filters: Filters, contrasts: Sequence[str]
) -> dict[str, dict[str, list[Path]]]:
    """Gather the usable images of each session, of the first contrast that has any, by participant."""
    found: dict[str, dict[str, list[Path]]] = {}
    for contrast in contrasts:
        images = _images(layout, participants, filters[contrast.lower()])
        for label, paths in images.items():
            sessions: dict[str, list[Path]] = {}
            for path in paths:
                if not _is_part(path):
                    sessions.setdefault(labels_of(path)[1] or "", []).append(path)
            found[label] = sessions | found.get(label, {})
    return found


def _best(candidates: Sequence[Path]) -> Path:
    """Take the plainest name, then the first; log what is passed over."""
    best, *others = sorted(candidates, key=lambda path: (_extra_entities(path), _natural(path.name)))
    if others:
        names = ", ".join(path.name for path in others)
        _LOGGER.info("%s is taken; %s not (--bids-filter-file chooses otherwise).", best.name, names)
    return best


def _extra_entities(path: Path) -> int:
    return len([part for part in path.name.split("_")[1:-1] if not part.startswith(("ses-", "run-"))])


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _is_part(path: Path) -> bool:
    return any(f"_part-{part}_" in path.name for part in _UNUSABLE_PARTS)


def _scan(path: Path, t1ws: dict[str, list[Path]]) -> Scan:
    participant, session = labels_of(path)
    ours = t1ws.get(participant, [])
    same = [t1w for t1w in ours if labels_of(t1w)[1] == session]
    t1w = _best(same or ours) if ours else None
    volume = _proton_density_volume(path) if path.name.partition(".")[0].endswith("_PDT2") else None
    _LOGGER.info("%s will be scored%s.", path.name, f", with {t1w.name} for its segmentation" if t1w else "")
    return Scan(participant, session, path, volume, t1w)


def _proton_density_volume(path: Path) -> int:
    """Return which volume of a `PDT2` has the shorter echo; the first where no sidecar says."""
    sidecar = path.with_name(path.name.partition(".")[0] + ".json")
    try:
        echoes = read_json(sidecar).get("EchoTime") if sidecar.exists() else None
    except (EPVSError, OSError) as error:  # `exists` raises where a folder above can't be entered
        _LOGGER.warning("%s The first volume of %s is taken for the proton density.", error, path.name)
        return 0
    if (
        isinstance(echoes, list)
        and len(echoes) == 2
        and all(isinstance(echo, (int, float)) for echo in echoes)
    ):
        return int(echoes[1] < echoes[0])
    return 0


def labels_of(path: Path) -> tuple[str, str | None]:
    """Return the labels of participant and session that the folders of a file in `anat` name."""
    *_, above, folder, _ = path.parent.parts if len(path.parent.parts) > 2 else ("", "", "")
    if folder.startswith("ses-"):
        return above.removeprefix("sub-"), folder.removeprefix("ses-")
    return folder.removeprefix("sub-"), None


def misplaced(path: Path) -> bool:
    """Tell whether the labels in a file's name differ from those of its folders."""
    match = _NAME.fullmatch(path.name.partition(".")[0])
    return match is None or (match["participant"], match["session"]) != labels_of(path)


def _unknown_label(label: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(label, known, n=1, cutoff=0.75)
    same_number = [one for one in known if one.lstrip("0") == label.lstrip("0")]
    suggestion = next(iter(same_number or close), None)
    return "there is no such participant" + (f"; did you mean {suggestion}?" if suggestion else "")


def _unavailable(
    folder: Path, sessions: Sequence[str], contrast: str, *, asked: bool, elsewhere: bool
) -> Unavailable:
    """Describe a participant that is there, but none of whose scans is taken."""
    label = folder.name.removeprefix("sub-")
    if reason := why_unreadable(folder):
        return Unavailable(label, reason, asked=asked, unreadable=True)
    return Unavailable(label, _why_nothing(folder, sessions, contrast), asked=asked, elsewhere=elsewhere)


def _why_nothing(folder: Path, sessions: Sequence[str], contrast: str) -> str:
    wanted = "PDw, T2w or PDT2" if contrast == "auto" else contrast
    files = sorted(folder.glob("**/anat/*"))
    images = [path for path in files if path.name.endswith(IMAGES)]
    wrong = [path for path in images if misplaced(path)]
    if wrong:
        return (
            f"{wrong[0].name} has another label than its folder {wrong[0].parent.relative_to(folder.parent)}"
        )
    for path in files:
        if (proper := _proper_case(path.name)) != path.name:
            return f"rename {path.name} to {proper}: BIDS tells capital from small letters"
    there = sorted({path.name.partition(".")[0].rpartition("_")[2] for path in images})
    asked = f" in session {', '.join(sessions)}" if sessions else ""
    return f"no {wanted} scan{asked} passes the filters (found: {', '.join(there) or 'no image'})"


def _proper_case(name: str) -> str:
    """Return a scan's name with the capital and small letters that BIDS has; other names as they are."""
    stem, _, extension = name.partition(".")
    entities, _, suffix = stem.rpartition("_")
    known = {contrast.lower(): contrast for contrast in CONTRASTS}
    if suffix.lower() not in known or f".{extension.lower()}" not in IMAGES:
        return name
    return f"{entities}_{known[suffix.lower()]}.{extension.lower()}"
