"""What the machine does to a run: memory, disk, permissions, signals, other runs, no network."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
from running import OFFLINE, judge, start

from epvs_bids.files import atomic_write

Head = tuple[nib.Nifti1Image, nib.Nifti1Image]
Cohort = Callable[[list[str]], Path]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts and namespaces")
EARLIER = "what was finished before"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("can't mount here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


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


@pytest.mark.fault(
    "Permission to read a folder is missing",
    says="Cannot read the folder",
    code=74,
    keeps="nothing was begun",
)
@pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="needs setpriv, for a root that permissions hold for"
)
def test_unreadable_folder(empty_files: Callable[..., Path], tmp_path: Path, mark: pytest.Mark) -> None:
    bids = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    (bids / "sub-01/anat").chmod(0)
    powers = "-dac_override,-dac_read_search"
    prefix = ("setpriv", f"--inh-caps={powers}", f"--bounding-set={powers}") if os.geteuid() == 0 else ()
    words = ("participant", "-w", tmp_path / "work", *OFFLINE)
    process = start(bids, tmp_path / "out", *words, home=tmp_path, prefix=prefix)
    shown, _ = process.communicate(timeout=120)
    (bids / "sub-01/anat").chmod(0o755)
    judge(mark, process.returncode, shown)


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


@pytest.mark.fault(
    "The GPU has no memory left", says="The GPU has no memory", code=0, keeps="the score, made on the CPU"
)
def test_gpu_without_memory(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mark: pytest.Mark
) -> None:
    import torch

    from epvs_bids.network import inference
    from epvs_bids.network.checkpoint import load_models

    models = load_models(model)
    region = np.random.default_rng(1).random((168, 128, 84), dtype=np.float32)
    expected = inference.score(region, models, device="cpu").score
    forward = inference._forward

    def full(network: torch.nn.Module, roi: torch.Tensor, device: torch.device) -> float:
        if device.type == "cuda":
            raise torch.cuda.OutOfMemoryError
        return forward(network, roi, device)

    monkeypatch.setattr(inference, "_forward", full)
    monkeypatch.setattr(inference, "choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert inference.score(region, models).score == expected
    assert mark.kwargs["says"] in caplog.text


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


@pytest.fixture
def two_scans(cohort: Cohort) -> Path:
    return cohort(["01", "02"])


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes that work on a node: the children of the fork server."""
    return [child for server in psutil.Process(process.pid).children() for child in server.children()]


def wait_for(condition: Callable[[], object], seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.fault(
    "A worker is killed (SIGKILL), as for want of memory",
    says="was killed (SIGKILL): most likely there was not enough memory",
    code=75,
    keeps="the other participants' results",
)
def test_killed_worker(two_scans: Path, model: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    words = ("participant", "-w", tmp_path / "work", "--model", model, *OFFLINE)
    process = start(two_scans, tmp_path / "out", *words, home=tmp_path)
    wait_for(lambda: workers(process))
    workers(process)[0].kill()
    shown, _ = process.communicate(timeout=1500)
    judge(mark, process.returncode, shown)
    results = [json.loads(path.read_text()) for path in (tmp_path / "out/logs/scans").iterdir()]
    assert sorted(result["result"] for result in results) == ["failed", "scored"]


@pytest.mark.slow
@pytest.mark.fault("SIGTERM, a scheduler's warning", says="stopped", code=143, keeps=EARLIER)
def test_sigterm_keeps_what_is_finished(
    two_scans: Path, model: Path, tmp_path: Path, mark: pytest.Mark
) -> None:
    out = tmp_path / "out"
    words = ("participant", "-w", tmp_path / "work", "--model", model, *OFFLINE)
    process = start(two_scans, out, *words, home=tmp_path)
    wait_for(lambda: list(out.glob("sub-*/anat/*scores.tsv")))
    wait_for(lambda: workers(process))
    process.send_signal(signal.SIGTERM)
    shown, _ = process.communicate(timeout=600)
    judge(mark, process.returncode, shown)
    assert list(out.glob("sub-*/anat/*scores.tsv"))
    assert not list(out.rglob("*.tmp*"))


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.fault(
    "The disk of `output_dir` fills up", says="the disk is full", code=73, keeps="no file is half written"
)
def test_full_output_disk(
    two_scans: Path, model: Path, tiny_disk: Path, tmp_path: Path, mark: pytest.Mark
) -> None:
    words = ("participant", "-w", tmp_path / "work", "--model", model, *OFFLINE)
    process = start(two_scans, tiny_disk / "out", *words, home=tmp_path)
    shown, _ = process.communicate(timeout=1500)
    judge(mark, process.returncode, shown)
    for path in tiny_disk.rglob("*.nii.gz"):
        with gzip.open(path) as stream:
            stream.read()
    assert not list(tiny_disk.rglob("*.tmp*"))


@pytest.mark.slow
@pytest.mark.fault(
    "Eight jobs at once, one participant each, into one `output_dir`",
    says="scored",
    code=0,
    keeps="everything: files of all are whole, the group table is complete",
)
def test_eight_at_once(cohort: Cohort, model: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    labels = [f"{number:02}" for number in range(1, 9)]
    bids, out = cohort(labels), tmp_path / "out"
    words = ("participant", "-w", tmp_path / "work", "--model", model, *OFFLINE)
    jobs = [start(bids, out, *words, "--participant-label", label, home=tmp_path) for label in labels]
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


@pytest.mark.slow
@pytest.mark.fault(
    "Two hundred participants in one run",
    says="scored",
    code=0,
    keeps="everything; memory stays flat, the work folder stays empty",
)
def test_endurance(cohort: Cohort, model: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    """EPVS_ENDURANCE sets another number of participants."""
    number = int(os.environ.get("EPVS_ENDURANCE", "200"))
    bids = cohort([f"{index:03}" for index in range(number)])
    out, work = tmp_path / "out", tmp_path / "work"
    words = ("participant", "-w", work, "--model", model, "--clean-workdir", *OFFLINE)
    log = tmp_path / "log.txt"
    samples: list[tuple[int, int]] = []
    with log.open("w") as stream:
        process = start(bids, out, *words, home=tmp_path)
        main = psutil.Process(process.pid)
        reader = threading.Thread(target=shutil.copyfileobj, args=(process.stdout, stream))
        reader.start()
        while process.poll() is None:
            if list(out.glob("sub-*/anat/*scores.tsv")):
                samples.append((main.memory_info().rss, main.num_fds()))
            time.sleep(0.5)
        reader.join()
    assert process.returncode == mark.kwargs["code"], log.read_text()[-2000:]
    assert len(list(out.glob("sub-*/anat/*scores.tsv"))) == number
    tenth = max(len(samples) // 10, 1)
    first, last = np.median(samples[:tenth], axis=0), np.median(samples[-tenth:], axis=0)
    assert last[0] <= 1.05 * first[0]
    assert last[1] <= first[1] + 5
    assert sum(path.stat().st_size for path in work.rglob("*") if path.is_file()) < 200 << 20
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20
