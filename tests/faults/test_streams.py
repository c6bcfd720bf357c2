"""Streams, folders and permissions that a run is started with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import pytest
from running import OFFLINE, judge, start

Head = tuple[nib.Nifti1Image, nib.Nifti1Image]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts and other users")
QUICK = ("--model", "none", "--no-mni-registration", *OFFLINE)


def shell(script: str) -> tuple[str, ...]:
    """Run what follows by a line of shell, in which `"$@"` is the app."""
    return ("bash", "-o", "pipefail", "-c", script, "bash")


@pytest.fixture
def bids(empty_files: Callable[..., Path]) -> Path:
    return empty_files("sub-01/anat/sub-01_PDw.nii.gz")


@pytest.mark.fault(
    "Standard streams closed, as some schedulers and daemons do", says="", code=0, keeps="everything"
)
def test_closed_streams(bids: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    words = ("participant", "-w", tmp_path / "work", *QUICK, "--boilerplate-only")
    prefix = shell('exec "$@" <&- >&- 2>&-')
    process = start(bids, tmp_path / "out", *words, home=tmp_path, prefix=prefix)
    assert process.communicate(timeout=300)[0] == ""
    assert process.returncode == mark.kwargs["code"]
    assert (tmp_path / "out/logs/CITATION.md").is_file()


@pytest.mark.fault(
    "An error while nobody listens: streams closed, or standard error full",
    says="",
    code=66,
    keeps="the exit code",
)
@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "2>/dev/full"])
def test_error_without_a_listener(streams: str, tmp_path: Path, mark: pytest.Mark) -> None:
    prefix = shell(f'exec "$@" {streams}')
    process = start(tmp_path / "nothing", tmp_path / "out", "participant", home=tmp_path, prefix=prefix)
    process.communicate(timeout=300)
    assert process.returncode == mark.kwargs["code"]


@pytest.mark.fault(
    "The reader of the messages goes away (`| head`)", says="", code=0, keeps="everything; the run goes on"
)
def test_reader_goes_away(
    head: Head,
    describe_dataset: Callable[[Path], Path],
    add_scan: Callable[..., Path],
    tmp_path: Path,
    mark: pytest.Mark,
) -> None:
    bids, out = describe_dataset(tmp_path / "bids"), tmp_path / "out"
    add_scan(bids, "sub-01_PDw", head)
    words = ("participant", "-w", tmp_path / "work", *QUICK)
    process = start(bids, out, *words, home=tmp_path, prefix=shell('"$@" 2>&1 | head -c 1'))
    process.communicate(timeout=900)
    assert process.returncode == mark.kwargs["code"]
    assert list(out.glob("sub-01/anat/*_roi_PDw.nii.gz")) or list(out.glob("sub-01/anat/*desc-roi*"))
    assert (out / "sub-01.html").is_file()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that is mounted read-only."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], check=False).returncode:
        pytest.skip("can't mount here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@ROOT_ONLY
@pytest.mark.fault(
    "`output_dir` on a read-only file system", says="mount it writable", code=73, keeps="nothing was begun"
)
def test_read_only_output(bids: Path, read_only: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    words = ("participant", "-w", tmp_path / "work", *QUICK)
    process = start(bids, read_only / "out", *words, home=tmp_path)
    shown, _ = process.communicate(timeout=300)
    judge(mark, process.returncode, shown)


@pytest.mark.fault(
    "`output_dir` of somebody else", says="no permission to write there", code=73, keeps="nothing was begun"
)
@pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="needs setpriv, for a root that permissions hold for"
)
def test_output_of_somebody_else(bids: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    power = "-dac_override"
    prefix = ("setpriv", f"--inh-caps={power}", f"--bounding-set={power}") if os.geteuid() == 0 else ()
    words = ("participant", "-w", tmp_path / "work", *QUICK)
    process = start(bids, tmp_path / "theirs/out", *words, home=tmp_path, prefix=prefix)
    shown, _ = process.communicate(timeout=300)
    judge(mark, process.returncode, shown)


@pytest.mark.fault(
    "A home folder that can't be entered, as with `docker run --user` and `HOME=/root`",
    says="",
    code=0,
    keeps="everything",
)
@pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="needs setpriv, for a root that permissions hold for"
)
def test_locked_home(bids: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    locked = tmp_path / "home"
    locked.mkdir(mode=0)
    powers = "-dac_override,-dac_read_search"
    prefix = ("setpriv", f"--inh-caps={powers}", f"--bounding-set={powers}") if os.geteuid() == 0 else ()
    words = ("participant", "-w", tmp_path / "work", *QUICK, "--boilerplate-only")
    process = start(bids, tmp_path / "out", *words, home=tmp_path, prefix=prefix, HOME=str(locked))
    shown, _ = process.communicate(timeout=300)
    locked.chmod(0o755)
    judge(mark, process.returncode, shown)


@pytest.mark.fault(
    "The current folder has been removed", says="give a full path", code=66, keeps="nothing was begun"
)
def test_no_current_folder(bids: Path, tmp_path: Path, mark: pytest.Mark) -> None:
    (tmp_path / "gone").mkdir()
    prefix = shell('rmdir "$PWD"; exec "$@"')
    process = start(bids, "out", "participant", *QUICK, home=tmp_path / "gone", prefix=prefix)
    shown, _ = process.communicate(timeout=300)
    assert mark.kwargs["says"] in shown
    assert process.returncode == mark.kwargs["code"]
