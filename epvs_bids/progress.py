"""What a user sees of a run: a live display on a terminal, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.logging import RichHandler
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from epvs_bids.files import cannot_create

_LOGGER = logging.getLogger(__name__)

_SHOWN = 12
"""Scans under way that the display lists."""


@dataclass(frozen=True)
class Outcome:
    """What became of a scan.

    Attributes
    ----------
    scan
        Name of the scan, or label of a participant without one.
    result
        One of `scored`, `made` (region without a score), `failed`, `stopped`, `missing`.
    score, score_sd
        In EPVS; None where there is none.
    reason
        Why there is no score, or what is to be known about it.
    exit_code
        What the run ends with if this is its only trouble; 0 where all is well.
    """

    scan: str
    result: str
    score: float | None = None
    score_sd: float | None = None
    reason: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Attributes
    ----------
    outcomes
        Of every scan, and of every participant without one.
    stopped
        Exit code of the signal that stopped it; 0 where none did.
    """

    outcomes: tuple[Outcome, ...] = ()
    stopped: int = 0

    @property
    def exit_code(self) -> int:
        """0 where all went well, the code of the troubles where they are of one kind, else 1."""
        codes = {outcome.exit_code for outcome in self.outcomes} - {0}
        return self.stopped or (codes.pop() if len(codes) == 1 else int(bool(codes)))


class Estimate:
    """How long the rest of a run takes, from how long each stage took so far.

    Parameters
    ----------
    expected
        Seconds that each stage is expected to take, before any was seen; in the order of work.
    scans
        Number of scans.
    slots
        Number of scans worked on at a time.
    clock
        Gives seconds; replaced in tests.
    """

    def __init__(
        self,
        expected: Mapping[str, float],
        *,
        scans: int,
        slots: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected, self._clock, self._slots = dict(expected), clock, max(1, slots)
        self._left = dict.fromkeys(expected, scans)
        self._seen: dict[str, list[float]] = {stage: [] for stage in expected}
        self._started: dict[tuple[str, str], float] = {}

    def start(self, scan: str, stage: str) -> None:
        """Note that a stage begins."""
        self._started[scan, stage] = self._clock()

    def end(self, scan: str, stage: str) -> None:
        """Note that a stage has ended; one that never began was cached and tells nothing about time."""
        if stage in self._left:
            self._left[stage] = max(0, self._left[stage] - 1)
            if (scan, stage) in self._started:
                self._seen[stage].append(self._clock() - self._started.pop((scan, stage)))

    def give_up(self, scan: str, stage: str) -> None:
        """Note that a stage failed, and those after it will not come."""
        self._started.pop((scan, stage), None)
        stages = list(self._left)
        for later in stages[stages.index(stage) :] if stage in stages else []:
            self._left[later] = max(0, self._left[later] - 1)

    def seconds_left(self) -> float:
        """Return the estimate in seconds."""
        work = 0.0
        for stage, left in self._left.items():
            seen = self._seen[stage]
            work += left * (sum(seen) / len(seen) if seen else self._expected[stage])
        running = sum(self._clock() - begun for begun in self._started.values())
        return max(0.0, work - running) / self._slots


class Progress:
    """Follows a run, scan by scan; a context manager.

    Parameters
    ----------
    scans
        Names of the scans.
    expected
        Seconds that each stage is expected to take, in the order of work.
    slots
        Number of scans worked on at a time.
    console
        Where the display goes; it is live on a terminal only.
    """

    def __init__(
        self, scans: Sequence[str], expected: Mapping[str, float], *, slots: int, console: Console
    ) -> None:
        self._total, self._done, self._failed = len(scans), 0, 0
        self._estimate = Estimate(expected, scans=len(scans), slots=min(slots, len(scans)))
        self._active: dict[str, tuple[str, float]] = {}
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)
        self._terminal = console.is_terminal

    def __enter__(self) -> Self:
        """Start the display."""
        if self._terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display."""
        if self._terminal:
            self._live.stop()

    def start(self, scan: str, stage: str) -> None:
        """Note that a stage of a scan begins."""
        self._estimate.start(scan, stage)
        self._active[scan] = (stage, time.monotonic())
        if not self._terminal:
            _LOGGER.info("%s: %s", scan, stage)

    def end(self, scan: str, stage: str) -> None:
        """Note that a stage of a scan has ended."""
        self._estimate.end(scan, stage)
        if self._active.get(scan, ("", 0.0))[0] == stage:
            del self._active[scan]

    def finish(self, scan: str, outcome: Outcome, *, stage: str | None = None) -> None:
        """Note what became of a scan; `stage` is the one that failed."""
        self._active.pop(scan, None)
        self._done += 1
        if stage is not None:
            self._failed += 1
            self._estimate.give_up(scan, stage)
            _LOGGER.error("%s: %s", scan, outcome.reason)
        else:
            _LOGGER.info("%s: %s (%s)", scan, describe(outcome), self._summary())

    def _summary(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        left = self._estimate.seconds_left()
        rest = f", about {duration(left)} left" if self._done < self._total else ""
        return f"{self._done} of {self._total} scans{failed}{rest}"

    def _render(self) -> RenderableType:
        lines = Table.grid(padding=(0, 1))
        now = time.monotonic()
        for scan, (stage, begun) in list(self._active.items())[:_SHOWN]:
            lines.add_row(Text(scan, style="bold"), Text(stage), Text(duration(now - begun), style="dim"))
        if len(self._active) > _SHOWN:
            lines.add_row(Text(f"… and {len(self._active) - _SHOWN} more"))
        bar = ProgressBar(total=self._total, completed=self._done, width=40)
        return Group(lines, bar, Text(self._summary()))


def duration(seconds: float) -> str:
    """Write a time as people do: `45 s`, `6 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def describe(outcome: Outcome) -> str:
    """Write an outcome's score as `12.3 ± 0.8 EPVS`, or what there is in its place."""
    if outcome.score is None:
        return {"made": "region made"}.get(outcome.result, outcome.result)
    spread = f" ± {outcome.score_sd:.1f}" if outcome.score_sd is not None else ""
    return f"{round(outcome.score, 1) + 0.0:.1f}{spread} EPVS"  # + 0.0: no minus before a zero


def results_table(outcomes: Sequence[Outcome]) -> Table:
    """Lay out every scan with its score, or the reason for none."""
    table = Table(title="Results", title_justify="left", box=None, pad_edge=False)
    table.add_column("scan", no_wrap=True)
    table.add_column("score", no_wrap=True)
    table.add_column("remark", overflow="fold")
    styles = {"failed": "red", "missing": "yellow", "stopped": "yellow"}
    for outcome in outcomes:
        style = styles.get(outcome.result)
        table.add_row(Text(outcome.scan), Text(describe(outcome)), Text(outcome.reason), style=style)
    return table


class _Console(Console):
    """A console whose reader may go away (`| head`) without ending the run, as rich's own would."""

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True


def make_console() -> Console:
    """Return the console that messages and displays go to: standard error, wide where it is no terminal."""
    console = _Console(stderr=True)
    return console if console.is_terminal else _Console(stderr=True, width=200, no_color=True)


_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")


def set_up_logging(console: Console, verbose: int) -> None:
    """Send messages to the console: warnings and the run's steps; with `-v`, `-vv` more.

    Parameters
    ----------
    console
        From `make_console`.
    verbose
        How often `-v` was given; twice shows debugging messages.
    """
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, markup=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_FORMAT)
    logger = logging.getLogger("epvs_bids")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG if verbose >= 2 else logging.INFO)


class _LogFile(logging.FileHandler):
    """A log file whose trouble, such as a full disk, is not that of the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: the message is on the console."""


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write the messages to a file too, and the error that ends the block; without a file, go on.

    Parameters
    ----------
    path
        The file; its folder is created where the one above exists.
    """
    logger = logging.getLogger("epvs_bids")
    try:
        path.parent.mkdir(exist_ok=True)
        handler = _LogFile(path, "w", encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:  # no output folder yet: there is nothing to tell of
        yield
        return
    except OSError as error:
        _LOGGER.warning("%s", cannot_create(path, error))
        yield
        return
    handler.setFormatter(_FORMAT)
    logger.addHandler(handler)
    try:
        yield
    except BaseException as end:
        text = f"{type(end).__name__}: {end}"
        handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), None))
        raise
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()
