"""Measuring: contenders in processes of their own, alternating runs, medians, results kept as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".bench"
"""Data sets and results of rows; ignored by git."""

TOOLKITS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
"""The environment of other toolkits, from `benchmarks/requirements.txt`."""


class UnmeasuredError(Exception):
    """Something can't be measured here; the text says why."""


@dataclass(frozen=True)
class Contender:
    """One of several ways to do the same.

    Parameters
    ----------
    name
        As it appears in the results.
    factory
        ``module:function`` of what `benchmarks.worker` runs.
    arguments
        Keyword arguments of the factory; plain values.
    python
        The interpreter.
    environment
        Variables beside those of this process.
    """

    name: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    python: Path = Path(sys.executable)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Measurement:
    """What was measured of one contender.

    Parameters
    ----------
    name
        Of the contender.
    wall, processor
        Seconds of each counted run, on the clock and of all threads.
    values
        What each run returned.
    first
        Seconds of the very first run, on the clock.
    before, peak
        Bytes held before the first run, and at most.
    failure
        Why there are no runs; empty where there are.
    """

    name: str
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    first: float = 0.0
    before: int = 0
    peak: int = 0
    failure: str = ""

    @property
    def seconds(self) -> float:
        """Median of the counted runs, on the clock."""
        return float(np.median(self.wall))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class _Process:
    """A worker that is running."""

    def __init__(self, contender: Contender) -> None:
        self.measurement = Measurement(contender.name)
        command = [str(contender.python), "-m", "benchmarks.worker", contender.factory]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **contender.environment}
        FOLDER.mkdir(exist_ok=True)
        self._log = (FOLDER / "worker.log").open("a", encoding="utf-8")
        self._process = subprocess.Popen(
            [*command, json.dumps(dict(contender.arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.measurement.before = int(self._answer().get("before", 0))

    def run(self, *, counted: bool) -> None:
        """Have it do its work once."""
        if self.measurement.failure:
            return
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer:
            self.measurement.peak = answer["peak"]
            self.measurement.first = self.measurement.first or answer["wall"]
        if answer and counted:
            self.measurement.wall.append(answer["wall"])
            self.measurement.processor.append(answer["processor"])
            self.measurement.values.append(answer["value"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self.measurement.failure = f"ended with exit code {code}; .bench/worker.log tells why"
            return {}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Close its input, which ends it."""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.close()
        self._process.wait()
        self._log.close()


def alternate(contenders: Sequence[Contender], *, runs: int = 5, warm_up: int = 1) -> dict[str, Measurement]:
    """Run contenders in turn, A B C A B C …, each in a process of its own.

    Parameters
    ----------
    contenders
        What to run.
    runs, warm_up
        Counted rounds, and rounds before them that are not.

    Returns
    -------
    measurements
        By the contenders' names; one that failed has `failure` and no runs.
    """
    processes: list[_Process] = []
    try:
        for contender in contenders:
            processes.append(_Process(contender))
        for number in range(-warm_up, runs):
            for process in processes:
                process.run(counted=number >= 0)
    finally:
        for process in processes:
            process.end()
    return {process.measurement.name: process.measurement for process in processes}


def measure(contender: Contender, *, runs: int = 1, warm_up: int = 0) -> Measurement:
    """Run one contender in a process of its own.

    Raises
    ------
    UnmeasuredError
        It failed.
    """
    measurement = alternate([contender], runs=runs, warm_up=warm_up)[contender.name]
    if measurement.failure:
        raise UnmeasuredError(f"{contender.name} {measurement.failure}")
    return measurement


@dataclass(frozen=True)
class Ratio:
    """A ratio of alternating runs: the median of the rounds' own ratios, and the least and the largest.

    Neighbours in time are compared, so that a machine that slows down slows both.
    """

    value: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.least:.2f}–{self.largest:.2f})"


def ratio(ours: Sequence[float], others: Sequence[float]) -> Ratio:
    """Return the ratio of the runs of two contenders that alternated."""
    each = [mine / theirs for mine, theirs in zip(ours, others, strict=True)]
    return Ratio(float(np.median(each)), min(each), max(each))


@dataclass(frozen=True)
class Line:
    """One line of the table of ratios.

    Parameters
    ----------
    what, against
        What was measured, and what it is compared with.
    ratio
        Our figure over the other's, or the figure itself.
    target
        The target in words.
    met
        Whether it was; None where there is no target.
    """

    what: str
    against: str
    ratio: str
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Row:
    """What a group of measurements found.

    Parameters
    ----------
    lines
        For the table of ratios.
    absolute
        (what, value) pairs for the table of absolute numbers.
    notes
        Sentences.
    """

    lines: list[Line] = field(default_factory=list)
    absolute: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """Read what `asdict` gave and JSON kept."""
        lines = [Line(**line) for line in values["lines"]]
        return cls(lines, [(str(what), str(value)) for what, value in values["absolute"]], values["notes"])


def measured(name: str, measure_row: Callable[[], Row] | None, *, fresh: bool) -> Row:
    """Return a row's result: that of an earlier call, else measured now.

    Parameters
    ----------
    name
        Of the row.
    measure_row
        Measures; None takes an earlier result or leaves the row empty.
    fresh
        Measure even where there is a result.
    """
    path = FOLDER / "rows" / f"{name}.json"
    if path.is_file() and not fresh:
        return Row.from_dict(json.loads(path.read_text(encoding="utf-8")))
    if measure_row is None:
        return Row(notes=[f"`{name}` was not measured."])
    try:
        row = measure_row()
    except UnmeasuredError as reason:
        return Row(notes=[f"`{name}` was not measured: {reason}."])
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")
    aside.replace(path)
    return row
