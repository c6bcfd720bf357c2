"""What is timed of the app as a whole: finding scans, starting, and runs of both levels."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import psutil

from benchmarks.data import copies, empty_files, paper_scan, scored
from benchmarks.harness import FOLDER, ROOT, UnmeasuredError

POLL = 0.2
"""Seconds between looks at the memory of a run; pages that processes share are looked at each second."""


def plain_layout(participants: int, sessions: int) -> Callable[[], int]:
    """Index a data set of empty files as pybids does by itself."""
    from bids import BIDSLayout

    root = empty_files(participants, sessions)
    return lambda: len(BIDSLayout(root).get(suffix="PDw"))


def find(participants: int, sessions: int, label: str = "") -> Callable[[], int]:
    """Find the scans of a data set of empty files, or of one participant, as the participant level does."""
    from epvs_bids.bids.query import find_scans

    root = empty_files(participants, sessions)
    wanted = [label] if label else []
    return lambda: len(find_scans(root, participants=wanted).scans)


def command(words: list[str]) -> Callable[[], int]:
    """Run a command and drop what it says; returns its exit code."""
    return lambda: (
        subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, check=False
        ).returncode
    )


def participant_level(name: str, participants: int, threads: int) -> Callable[[], dict[str, float]]:
    """Run the participant level from scratch on `paper-scan` or `copies`, with labels that are there."""
    bids = paper_scan() if name == "paper-scan" else copies(participants)

    def run() -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            out, work = Path(folder) / "out", Path(folder) / "work"
            options = ["--segmentation", "existing", "--nprocs", str(threads), "-w", str(work)]
            options += ["--template", "MNI152NLin2009aSym", "--skip-bids-validation"]
            facts = run_app([str(bids), str(out), "participant", *options])
            found = len(list(out.glob("sub-*/anat/*_desc-epvs_scores.tsv")))
            if found != participants:
                raise UnmeasuredError(f"{found} of {participants} participants were scored")
            return facts

    return run


def group_level(participants: int) -> Callable[[], dict[str, float]]:
    """Run the group level on a copy of a study that is scored: all analyses that the tables allow."""
    study = scored(participants)

    def run() -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            out = Path(folder) / "out"
            shutil.copytree(study / "out", out, copy_function=os.link)
            return run_app([str(study / "bids"), str(out), "group"])

    return run


def run_app(words: list[str]) -> dict[str, float]:
    """Run the app; return what it took.

    `seconds` on the clock, `processor` seconds of it and of all processes that it waited for, and in MB the
    most memory of one process (`largest`) and of all together (`together`).

    Raises
    ------
    UnmeasuredError
        It failed.
    """
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    with (FOLDER / "logs" / "app.log").open("w", encoding="utf-8") as log:
        start, used = time.perf_counter(), _processor_seconds()
        process = psutil.Popen([sys.executable, "run.py", *words], stdout=log, stderr=log, cwd=ROOT)
        ended = Event()
        peaks = {"largest": 0.0, "together": 0.0}
        watcher = Thread(target=_watch, args=(process, ended, peaks))
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    if code:
        raise UnmeasuredError(f"the app ended with exit code {code}; .bench/logs/app.log tells why")
    return {"seconds": seconds, "processor": _processor_seconds() - used, **peaks}


def _processor_seconds() -> float:
    """Processor time of all processes that this one has waited for, and of those that they waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _watch(process: psutil.Popen, ended: Event, peaks: dict[str, float]) -> None:
    """Note the memory of a process and its children; together, shared pages are counted once (PSS)."""
    looks = 0
    while not ended.wait(POLL):
        looks += 1
        with suppress(psutil.Error):
            family = [process, *process.children(recursive=True)]
            largest = max(one.memory_info().rss for one in family) / 1e6
            peaks["largest"] = max(peaks["largest"], largest)
            if looks % 5 == 0:
                together = sum(one.memory_full_info().pss for one in family) / 1e6
                peaks["together"] = max(peaks["together"], together)
