"""Sessions on disk: opened, saved after every click, and written out as BIDS when a reading is finished."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from epvs_bids import __version__
from epvs_bids.anatomy.registration import load_itk
from epvs_bids.errors import BadDataError, EPVSError, TryAgainError
from epvs_bids.files import MISSING, read_json, write_json, write_text
from epvs_bids.reports import outputs
from epvs_bids.reports.rating import session as sessions
from epvs_bids.reports.rating import tables
from epvs_bids.reports.rating.scans import Scan
from epvs_bids.reports.rating.session import Reading, Session
from epvs_bids.reports.rating.slab import Slab, load_slab

LOGGER = logging.getLogger(__name__)
KEPT_SLABS = 3
TEXTS = {
    ".bidsignore": "*_desc-epvs_markers.*\nrater-*_state.json\n",
    "README": """Enlarged perivascular spaces (EPVS) that raters marked with epvs-rate.

sub-*/**/*_desc-epvs_markers.tsv  a mark a row: scanner millimetres (RAS), and the column of
                                  phenotype/epvs.tsv that counts it
rater-*_state.json                where a rater stands; epvs-rate goes on from it
""",
}
"""Files that are written beside the marks where there are none."""


@dataclass
class Store:
    """Everything that the page reads and writes; safe to call from several threads.

    Parameters
    ----------
    scans
        What there is to rate.
    destination
        Root that `phenotype/epvs.tsv` and `derivatives/epvs-rate/` are written under.
    seed
        Seed of the order of new sessions.
    repeats
        Share (0–1) of the scans that a new session reads twice.
    """

    scans: dict[str, Scan]
    destination: Path
    seed: int = 0
    repeats: float = 0.2
    _sessions: dict[str, Session] = field(default_factory=dict, init=False)
    _pages: dict[str, int] = field(default_factory=dict, init=False)
    _slabs: OrderedDict[str, Slab] = field(default_factory=OrderedDict, init=False)
    _locks: ExitStack = field(default_factory=ExitStack, init=False)
    _busy: threading.RLock = field(default_factory=threading.RLock, init=False)
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False)
    _cache: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def folder(self) -> Path:
        """Where states and marks are written."""
        return self.destination / "derivatives" / "epvs-rate"

    @property
    def counts_path(self) -> Path:
        """The table of counts."""
        return self.destination / "phenotype" / "epvs.tsv"

    @cached_property
    def people(self) -> dict[str, list[str]]:
        """Sessions to rate by participant of the data set, as `tables.find_rows` takes them."""
        folders = [path.name for path in self.destination.glob("sub-*") if path.is_dir()]
        found: dict[str, list[str]] = {label: [] for label in folders}
        for scan in self.scans.values():
            found.setdefault(scan.participant_id, []).append(scan.session_id)
        return found

    def marks_path(self, scan: Scan) -> Path:
        """Name the file of a scan's marks."""
        folder = self.folder / scan.participant_id / scan.session_id / "anat"
        return folder / f"{scan.name}_desc-epvs_markers.tsv"

    def _state_path(self, rater: str) -> Path:
        return self.folder / f"rater-{rater}_state.json"

    def open(self, rater: str) -> Session:
        """Start or resume the session of a rater.

        Raises
        ------
        UsageError
            When the name can't be used.
        TryAgainError
            When another process has the session open.
        BadDataError
            When its state or the table of counts can't be used, or the table has ratings of this name from
            elsewhere.
        """
        with self._busy:
            sessions.check_rater(rater)
            if rater not in self._sessions:
                with ExitStack() as locks:
                    lock = tables.locked(self.folder / f".rater-{rater}.lock", wait=False)
                    if not locks.enter_context(lock):
                        raise TryAgainError(f"{rater} is rating with another epvs-rate. Stop that one first.")
                    self._keep(sessions.extended(self._resumed(rater), sorted(self.scans)))
                    self._locks.push(locks.pop_all())
                self._describe()
                self._complete(rater)
            return self._sessions[rater]

    def _resumed(self, rater: str) -> Session:
        path = self._state_path(rater)
        table = self._counts()
        if path.exists():
            try:
                session = sessions.from_dict(read_json(path))
            except BadDataError as error:
                raise BadDataError(
                    f"{path}: {error}. Restore it, or move it away and rate under another name."
                ) from error
            if session.rater == rater:
                return session
        mine = {sessions.column(rater, number) for number in (1, 2)}.intersection(table.columns)
        if path.exists() or mine:
            raise BadDataError(f"{self.counts_path} has ratings of {rater} from elsewhere. Use another name.")
        return Session(rater, self.seed, self.repeats, ())

    def _describe(self) -> None:
        """Say what the folder of marks is, as BIDS asks of a derivative, and what BIDS does not know."""
        for name, text in TEXTS.items():
            if not (self.folder / name).exists():
                write_text(self.folder / name, text)
        path = self.folder / "dataset_description.json"
        if not path.exists():
            description = {
                "Name": "Enlarged perivascular spaces marked by raters",
                "BIDSVersion": "1.10.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "epvs-rate", "Version": __version__}],
            }
            write_json(path, description)

    def _complete(self, rater: str) -> None:
        """Write finished readings that the table does not have as they are, as when the disk was full.

        What the table has of open ones stays: the state may be an older one that was put back.
        """
        table = self._counts()
        rows = tables.find_rows(table, self.people)
        replaced = self._replaced(rater)
        self._warn_of_replaced(rater, replaced)
        for index in self.visible(rater):
            reading = self._sessions[rater].readings[index]
            scan = self.scans[reading.scan]
            row = rows.get((scan.participant_id, scan.session_id))
            name = sessions.column(rater, reading.number)
            cell = MISSING if row is None else table.rows[row].get(name, MISSING)
            where = f"{self.counts_path}, {scan.name}, column {name}"
            if outputs.number(cell) == outputs.number(reading.count) or scan.name in replaced:
                continue
            if reading.state == sessions.OPEN:  # the count is not told: the rater is to count blind
                state = self._state_path(rater)
                text = "%s has a count that %s does not know. It stays until %s finishes that reading again."
                LOGGER.warning(text, where, state, rater)
            else:
                LOGGER.warning("%s: %s becomes %s, as marked", where, cell, reading.count)
                self._export(rater, reading, scan)

    def _replaced(self, rater: str) -> dict[str, str]:
        """Name, by scan, the image that the rater read where it is another one that is there now."""
        return {
            one.scan: one.image
            for one in self.open(rater).readings
            if one.image and one.scan in self.scans and one.image != self.scans[one.scan].image.name
        }

    def _warn_of_replaced(self, rater: str, replaced: Mapping[str, str]) -> None:
        for name, image in sorted(replaced.items())[:1]:
            LOGGER.warning(
                "%s read %d scans in other images than are there now (%s, now %s). Their counts and marks "
                "stay as they are, and %s can't change them. A column should not mix contrasts: run the "
                "participant level with the earlier contrast and start epvs-rate again, or rate under "
                "another name.",
                *(rater, len(replaced), image, self.scans[name].image.name, rater),
            )

    def _counts(self) -> tables.Table:
        return tables.read_table(self.counts_path, ["participant_id"])

    def _keep(self, session: Session) -> None:
        write_json(self._state_path(session.rater), sessions.to_dict(session))
        self._sessions[session.rater] = session

    def visible(self, rater: str) -> list[int]:
        """List the indices of the readings whose scan is there."""
        return [index for index, one in enumerate(self.open(rater).readings) if one.scan in self.scans]

    def reading(self, rater: str, position: int) -> tuple[Reading, Scan]:
        """Look up the reading and the scan at a position of the order.

        Raises
        ------
        BadDataError
            When there is no such position.
        """
        visible = self.visible(rater)
        if not 0 <= position < len(visible):
            raise BadDataError(f"There is no reading {position + 1}.")
        reading = self.open(rater).readings[visible[position]]
        return reading, self.scans[reading.scan]

    def overview(self, rater: str) -> dict[str, Any]:
        """Tell what a page may know of a session: no names of scans, nor which ones are repeats."""
        readings = self.open(rater).readings
        states = [readings[index].state for index in self.visible(rater)]
        return {"rater": rater, "states": states, "table": str(self.counts_path), "marks": str(self.folder)}

    def begin(self, rater: str) -> dict[str, Any]:
        """Like `overview`, for a page that begins: `page` is the number that its saves carry."""
        with self._busy:
            overview = self.overview(rater)
            self._pages[rater] = self._pages.get(rater, 0) + 1
            return {**overview, "page": self._pages[rater]}

    def save(self, rater: str, position: int, content: object, *, page: object) -> Reading:
        """Save what was clicked; a finished reading is also written to the table of counts and the marks.

        Raises
        ------
        TryAgainError
            When `page` is not the number that `begin` gave last: what an older page shows may be out of date.
        BadDataError
            When `content` is not a reading, the rater read another image of the scan before, or a file in the
            way can't be merged.
        CannotCreateError
            When a file can't be written.
        """
        slab = self.slab(self.reading(rater, position)[1])
        with self._busy:
            if page != self._pages.get(rater):
                raise TryAgainError(
                    f"{rater} went on in another window. Go on there, or reload this page to go on here."
                )
            old, scan = self.reading(rater, position)
            self._check_image(rater, scan)
            new = sessions.parse_reading(old, content, slab)
            begun = new.marks or new.state != sessions.OPEN
            new = replace(new, image=scan.image.name if begun else "")
            self._keep(sessions.with_reading(self.open(rater), self.visible(rater)[position], new))
            if new.state != sessions.OPEN or old.state != sessions.OPEN:
                self._export(rater, new, scan)
            return new

    def _check_image(self, rater: str, scan: Scan) -> None:
        """Refuse marks beside those that the rater set in another image of the scan, whose transform is gone.

        The page shows this: images are named without the participant.
        """
        before = self._replaced(rater).get(scan.name)
        if before:
            then, now = ("…" + name.removeprefix(scan.name) for name in (before, scan.image.name))
            raise BadDataError(
                f"{rater} read this scan in {then}, and {now} has taken its place. Run the participant level "
                "with the earlier contrast and start epvs-rate again, or rate under another name."
            )

    def _export(self, rater: str, reading: Reading, scan: Scan) -> None:
        name = sessions.column(rater, reading.number)
        done = reading.state == sessions.DONE
        points = tables.to_scanner(reading.marks if done else (), load_itk(scan.transform))
        with tables.locked(self.folder / ".tables.lock"):
            table = self._counts()
            counts = tables.with_count(
                table,
                tables.find_rows(table, self.people).get((scan.participant_id, scan.session_id)),
                participant_id=scan.participant_id,
                session_id=scan.session_id,
                column=name,
                value=reading.count,
            )
            path = self.marks_path(scan)
            if done or path.exists():  # no file: nobody looked; an empty one: nothing found
                marks = tables.read_table(path, tables.MARKER_COLUMNS)
                tables.write_marks(path, tables.with_marks(marks, column=name, points=points))
            description = {name: tables.count_description(rater, reading.number)}
            tables.write_counts(self.counts_path, counts, description)

    def slab(self, scan: Scan) -> Slab:
        """Slices of a scan; the last few stay in memory.

        Raises
        ------
        BadDataError
            When the image can't be read.
        """
        found = self._cached(scan)
        if found is None:
            with self._loading:  # one at a time, so that none is read twice
                found = self._cached(scan) or self._load(scan)
        return found

    def _cached(self, scan: Scan) -> Slab | None:
        with self._cache:
            if scan.name in self._slabs:
                self._slabs.move_to_end(scan.name)
            return self._slabs.get(scan.name)

    def _load(self, scan: Scan) -> Slab:
        slab = load_slab(scan.image, level=scan.commissure)
        with self._cache:
            self._slabs[scan.name] = slab
            while len(self._slabs) > KEPT_SLABS:
                self._slabs.popitem(last=False)
        return slab

    def prefetch(self, rater: str, position: int) -> None:
        """Read the scan at a position ahead, in the background, if there is one."""
        if position < len(self.visible(rater)):
            threading.Thread(
                target=self._load_quietly, args=(self.reading(rater, position)[1],), daemon=True
            ).start()

    def _load_quietly(self, scan: Scan) -> None:
        try:
            self.slab(scan)
        except EPVSError:
            LOGGER.debug("%s will be reported when it is its turn", scan.name, exc_info=True)

    def close(self) -> None:
        """Let other processes open the sessions."""
        self._locks.close()
