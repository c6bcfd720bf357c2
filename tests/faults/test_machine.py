"""What the machine does to a run: memory, disk, permissions, signals, other runs, no network."""

from __future__ import annotations

import gzip
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import psutil
import pytest
from running import NOTHING, OFFLINE, ROOT_ONLY, Head, judge, mounted, start

from epvs_bids.files import atomic_write
from epvs_bids.workflows import server

_LOGGER = logging.getLogger(__name__)
Cohort = Callable[[list[str]], Path]
Found = TypeVar("Found")
EARLIER = "what was finished before"
GRACE = 60
"""Seconds until a run that was told to stop must have ended: what the Slurm script of docs/hpc.md allows."""


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with mounted(tmp_path / "disk", "size=1m") as folder:
        yield folder


@ROOT_ONLY
@pytest.mark.fault(
    "A full disk, while a file is written", says="the disk is full", code=73, keeps="the file of before"
)
def test_full_disk_leaves_the_old_file(tiny_disk: Path, refuses: Callable[..., None]) -> None:
    path = tiny_disk / "scores.tsv"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(bytes(3 << 20))

    refuses(write)
    assert path.read_text() == "old"
    assert [file.name for file in tiny_disk.iterdir()] == ["scores.tsv"]


def peak_memory(program: str, *arguments: object) -> tuple[int, str]:
    """Run a Python program and return its peak memory in MiB and what it printed."""
    measured = (
        f"{program}\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    command = [sys.executable, "-c", measured, *map(str, arguments)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return int(lines[-1]), "\n".join(lines[:-1])


READ = """
import sys
from pathlib import Path
from typing import TypeVar
from epvs_bids.anatomy.images import load_volume
from epvs_bids.errors import EPVSError
try:
    load_volume(Path(sys.argv[1]))
except EPVSError as error:
    print(error.exit_code, error)
"""


@pytest.mark.fault(
    "A gzip bomb: a gigabyte of zeros in a megabyte",
    says="header is damaged",
    code=65,
    keeps="all others; 100 MB of memory are enough",
)
@pytest.mark.parametrize("sound_header", [False, True])
def test_gzip_bomb(sound_header: bool, tmp_path: Path, mark: pytest.Mark) -> None:
    path = tmp_path / "sub-01_PDw.nii.gz"
    small = nib.Nifti1Image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), np.eye(4)).to_bytes()
    zeros = gzip.compress(bytes(16 << 20), 1)
    if sound_header:
        path.write_bytes(gzip.compress(small) + zeros * 64)
    else:
        with gzip.open(path, "wb", compresslevel=1) as stream:
            for _ in range(64):
                stream.write(bytes(16 << 20))
    assert path.stat().st_size < 8 << 20
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    baseline, _ = peak_memory(READ, tmp_path / "empty.nii.gz")
    peak, said = peak_memory(READ, path)
    assert said.startswith(str(mark.kwargs["code"]))
    assert peak < baseline + 100
    assert sound_header or mark.kwargs["says"] in said


@ROOT_ONLY
@pytest.mark.fault(
    "TemplateFlow off line, a home folder that can't be made",
    says="MNI152NLin2009aSym",
    code=0,
    keeps="everything; the template that nilearn carries is used, and named in the outputs",
)
def test_no_network_no_home(mark: pytest.Mark) -> None:
    program = "from epvs_bids.anatomy.template import get_template; print(get_template().name)"
    environment = {**os.environ, "HOME": "/proc/none", "TEMPLATEFLOW_HOME": "/proc/none/templateflow"}
    command = ["unshare", "--net", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == mark.kwargs["code"], done.stderr
    assert done.stdout.split()[-1] == mark.kwargs["says"]


@pytest.fixture
def cohort(
    head: Head, describe_dataset: Callable[[Path], Path], add_scan: Callable[..., Path], tmp_path: Path
) -> Cohort:
    """Write a data set with one scan for each label."""

    def write(labels: list[str]) -> Path:
        bids = describe_dataset(tmp_path / "bids")
        for label in labels:
            add_scan(bids, f"sub-{label}_PDw", head)
        return bids

    return write


Options = tuple[object, ...]


@pytest.fixture
def options(model: Path, tmp_path: Path) -> Options:
    """Level and options of a quick participant run."""
    return ("participant", "-w", tmp_path / "work", "--model", model, *OFFLINE)


@pytest.fixture
def two_scans(cohort: Cohort) -> Path:
    return cohort(["01", "02"])


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes that work on a node: the children of the fork server that lead a process group."""
    children = (child for server in psutil.Process(process.pid).children() for child in server.children())
    return [child for child in children if leads_group(child.pid) and child.status() != psutil.STATUS_ZOMBIE]


def leads_group(pid: int) -> bool:
    """Tell them from the process that only looks at the model, and from those that have ended."""
    with suppress(ProcessLookupError):
        return os.getpgid(pid) == pid
    return False


def wait_for(condition: Callable[[], Found], seconds: float = 900) -> Found:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


@pytest.mark.slow
@pytest.mark.fault(
    "A worker is killed (SIGKILL), as for want of memory",
    says="was killed (SIGKILL): most likely there was not enough memory",
    code=75,
    keeps="the other participants' results",
)
def test_killed_worker(two_scans: Path, options: Options, tmp_path: Path, mark: pytest.Mark) -> None:
    process = start(two_scans, tmp_path / "out", *options, home=tmp_path)
    # One that has worked for a while is in a step that takes longer: the others may be over before they die.
    wait_for(lambda: [one for one in workers(process) if time.time() - one.create_time() > 0.3])[0].kill()
    shown, _ = process.communicate(timeout=1500)
    judge(mark, process.returncode, shown)
    results = [json.loads(path.read_text()) for path in (tmp_path / "out/logs/scans").iterdir()]
    assert sorted(result["result"] for result in results) == ["failed", "scored"]


@pytest.mark.fault(
    "The process that looks at the model is killed",
    says="most likely there was not enough memory",
    code=75,
    keeps=NOTHING,
)
def test_killed_look_at_the_model(refuses: Callable[..., None]) -> None:
    refuses(server.ask, signal.raise_signal, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.fault("SIGTERM, a scheduler's warning", says="stopped", code=143, keeps=EARLIER)
def test_sigterm_keeps_what_is_finished(
    two_scans: Path, options: Options, tmp_path: Path, mark: pytest.Mark
) -> None:
    out = tmp_path / "out"
    process = start(two_scans, out, *options, home=tmp_path)
    wait_for(lambda: list(out.glob("sub-*/anat/*scores.tsv")))
    wait_for(lambda: workers(process))
    process.send_signal(signal.SIGTERM)
    shown, _ = process.communicate(timeout=GRACE)
    judge(mark, process.returncode, shown)
    assert list(out.glob("sub-*/anat/*scores.tsv"))
    assert not list(out.rglob("*.tmp*"))


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.fault(
    "The disk of `output_dir` fills up", says="the disk is full", code=73, keeps="no file is half written"
)
def test_full_output_disk(
    two_scans: Path, options: Options, tiny_disk: Path, ends_apart: Callable[..., str]
) -> None:
    ends_apart(two_scans, tiny_disk / "out", *options, timeout=1500)
    for path in tiny_disk.rglob("*.nii.gz"):
        with gzip.open(path) as stream:
            stream.read()
    assert not list(tiny_disk.rglob("*.tmp*"))


@ROOT_ONLY
@pytest.mark.fault("The disk of the work folder is full", says="the disk is full", code=73, keeps=EARLIER)
def test_full_work_disk(
    two_scans: Path, options: Options, tiny_disk: Path, tmp_path: Path, ends_apart: Callable[..., str]
) -> None:
    with suppress(OSError):
        (tiny_disk / "filler").write_bytes(bytes(2 << 20))
    shown = ends_apart(two_scans, tmp_path / "out", *options, "-w", tiny_disk, "--participant-label", "01")
    assert "killed" not in shown


@pytest.mark.fault(
    "A page that can't be written", says="the same command, or --reports-only", code=73, keeps="the scores"
)
def test_page_in_the_way(two_scans: Path, options: Options, tmp_path: Path, ends: Callable[..., str]) -> None:
    (tmp_path / "out/sub-01.html/x").mkdir(parents=True)
    shown = ends(two_scans, tmp_path / "out", *options, "--saliency", "none")
    assert "sub-01.html: a folder of that name is in the way" in shown
    assert len(list((tmp_path / "out").glob("sub-*/anat/*scores.tsv"))) == 2
    assert (tmp_path / "out/sub-02.html").is_file()


@pytest.mark.slow
@pytest.mark.fault(
    "Eight jobs at once, one participant each, into one `output_dir`",
    says="scored",
    code=0,
    keeps="everything: files of all are whole, the group table is complete",
)
def test_eight_at_once(cohort: Cohort, options: Options, tmp_path: Path, mark: pytest.Mark) -> None:
    labels = [f"{number:02}" for number in range(1, 9)]
    bids, out = cohort(labels), tmp_path / "out"
    jobs = [start(bids, out, *options, "--participant-label", label, home=tmp_path) for label in labels]
    for job in jobs:
        shown, _ = job.communicate(timeout=1800)
        assert job.returncode == mark.kwargs["code"], shown
    for path in out.rglob("*.json"):
        json.loads(path.read_text())
    assert not list(out.rglob("*.tmp*"))
    group = start(bids, out, "group", home=tmp_path)
    shown, _ = group.communicate(timeout=1500)
    table = (out / "group_scores.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in table[1:]] == [f"sub-{label}" for label in labels], shown


def usage(process: subprocess.Popen[str], work: Path) -> tuple[int, int, int]:
    """Bytes of memory and file handles of a run's lasting processes, and bytes in its work folder."""
    main = psutil.Process(process.pid)
    lasting = [main, *main.children()]  # the children of these live for one node each
    sizes = 0
    for folder, _, names in os.walk(work):
        for name in names:
            with suppress(OSError):  # cleaned away in the meantime
                sizes += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return sum(one.memory_info().rss for one in lasting), sum(one.num_fds() for one in lasting), sizes


def watch(process: subprocess.Popen[str], out: Path, work: Path, log: Path) -> np.ndarray:
    """Sample the usage from the first score to the end of a run; its words go to the log."""
    samples = []
    with log.open("w") as stream:
        reader = threading.Thread(target=shutil.copyfileobj, args=(process.stdout, stream))
        reader.start()
        wait_for(lambda: process.poll() is not None or list(out.glob("sub-*/anat/*scores.tsv")))
        while process.poll() is None:
            with suppress(psutil.Error):  # it may end between the question and the answer
                samples.append(usage(process, work))
            time.sleep(0.5)
        reader.join()
    return np.array(samples)


@pytest.mark.slow
@pytest.mark.fault(
    "Two hundred participants in one run",
    says="scored",
    code=0,
    keeps="everything; memory stays flat, no file stays open, the work folder stays small",
)
def test_endurance(cohort: Cohort, options: Options, tmp_path: Path, mark: pytest.Mark) -> None:
    """EPVS_ENDURANCE sets another number of participants; `-rP` shows what was measured."""
    number = int(os.environ.get("EPVS_ENDURANCE", "200"))
    bids = cohort([f"{index:03}" for index in range(number)])
    out, work, log = tmp_path / "out", tmp_path / "work", tmp_path / "log.txt"
    process = start(bids, out, *options, "--clean-workdir", home=tmp_path)
    samples = watch(process, out, work, log)
    judge(mark, process.returncode, log.read_text())
    assert len(list(out.glob("sub-*/anat/*scores.tsv"))) == number
    tenth = max(len(samples) // 10, 1)
    first, last = np.median(samples[:tenth], axis=0), np.median(samples[-tenth:], axis=0)
    largest = samples[:, 2].max()
    measured = f"{number} participants, {len(samples)} samples: {first} to {last}, at most {largest}"
    _LOGGER.warning("memory, handles and work folder of %s bytes in it", measured)
    assert last[0] <= 1.05 * first[0]
    assert last[1] <= first[1]
    assert largest < 200 << 20
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20


@pytest.mark.fault(
    "A home and a temporary folder that nobody empties",
    says="Wrote",
    code=0,
    keeps="both are left as they were: files lie in `output_dir` and the work folder only",
)
def test_nothing_is_left_elsewhere(
    two_scans: Path, options: Options, tmp_path: Path, mark: pytest.Mark
) -> None:
    temporary = Path(tempfile.mkdtemp())  # short enough for sockets
    elsewhere = [tmp_path / "home", temporary]
    elsewhere[0].mkdir()
    given = sorted(two_scans.rglob("*"))
    for words in (options, ("group",)):
        process = start(
            two_scans,
            tmp_path / "out",
            *words,
            home=elsewhere[0],
            TMPDIR=str(elsewhere[1]),
            XDG_CACHE_HOME="",
        )
        shown, _ = process.communicate(timeout=300)
        judge(mark, process.returncode, shown)
    assert [path for folder in elsewhere for path in folder.rglob("*")] == []
    assert sorted(two_scans.rglob("*")) == given
    assert {path.name for path in tmp_path.iterdir()} - {"bids", "out", "work", "home"} == set()
    temporary.rmdir()


@pytest.mark.fault(
    "A temporary folder whose name is too long for sockets",
    says="Set TMPDIR to a folder with a shorter name",
    code=64,
    keeps=NOTHING,
)
def test_long_temporary_folder(
    two_scans: Path, options: Options, tmp_path: Path, ends_apart: Callable[..., str]
) -> None:
    folder = tmp_path / ("t" * 100)
    folder.mkdir()
    ends_apart(two_scans, tmp_path / "out", *options, TMPDIR=str(folder))
