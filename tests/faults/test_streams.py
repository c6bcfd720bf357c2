"""Streams, folders and permissions that a run is started with."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from running import NOTHING, OFFLINE, ROOT_ONLY, WITHOUT_POWERS, Head, mounted, without

Ends = Callable[..., str]
QUICK = ("--model", "none", "--no-mni-registration", *OFFLINE)


def shell(script: str) -> tuple[str, ...]:
    """Run what follows by a line of shell, in which `"$@"` is the app."""
    return ("bash", "-o", "pipefail", "-c", script, "bash")


@pytest.fixture
def bids(empty_files: Callable[..., Path]) -> Path:
    return empty_files("sub-01/anat/sub-01_PDw.nii.gz")


@pytest.fixture
def one_scan(head: Head, bids: Path, add_scan: Callable[..., Path]) -> Path:
    """The data set with a scan and its labels in place of the empty file."""
    add_scan(bids, "sub-01_PDw", head)
    return bids


@pytest.mark.fault(
    "Standard streams closed, as some schedulers and daemons do", says="", code=0, keeps="everything"
)
def test_closed_streams(bids: Path, tmp_path: Path, ends_apart: Ends) -> None:
    words = ("participant", "-w", tmp_path / "work", *QUICK, "--boilerplate-only")
    prefix = shell('exec "$@" <&- >&- 2>&-')
    assert ends_apart(bids, tmp_path / "out", *words, prefix=prefix) == ""
    assert (tmp_path / "out/logs/CITATION.md").is_file()


@pytest.mark.fault(
    "An error while nobody listens: streams closed, or standard error full",
    says="",
    code=66,
    keeps="the exit code",
)
@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "2>/dev/full"])
def test_error_without_a_listener(streams: str, tmp_path: Path, ends_apart: Ends) -> None:
    prefix = shell(f'exec "$@" {streams}')
    ends_apart(tmp_path / "nothing", tmp_path / "out", "participant", prefix=prefix)


@pytest.mark.fault(
    "The reader of the messages goes away (`| head`)", says="", code=0, keeps="everything; the run goes on"
)
def test_reader_goes_away(one_scan: Path, tmp_path: Path, ends_apart: Ends) -> None:
    out = tmp_path / "out"
    words = ("participant", "-w", tmp_path / "work", *QUICK)
    ends_apart(one_scan, out, *words, prefix=shell('"$@" 2>&1 | head -c 1'), timeout=900)
    assert list(out.glob("sub-01/anat/*_roi_PDw.nii.gz")) or list(out.glob("sub-01/anat/*desc-roi*"))
    assert (out / "sub-01.html").is_file()


@pytest.mark.fault(
    "A umask that hides new files from others (077), or does not (022)",
    says="scored",
    code=0,
    keeps="everything, for whom the umask says and nobody else",
)
@pytest.mark.parametrize(("umask", "hidden"), [("022", 0o022), ("077", 0o077)])
def test_umask(umask: str, hidden: int, one_scan: Path, tmp_path: Path, ends_apart: Ends) -> None:
    out = tmp_path / "out"
    words = ("participant", "-w", tmp_path / "work", *QUICK)
    ends_apart(one_scan, out, *words, prefix=shell(f'umask {umask}; exec "$@"'), timeout=900)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))}
    expected = {path: (0o777 if path.is_dir() else 0o666) & ~hidden for path in modes}
    assert modes == expected


@ROOT_ONLY
@pytest.mark.fault(
    "`output_dir` on a read-only file system", says="mount it writable", code=73, keeps=NOTHING
)
def test_read_only_output(bids: Path, tmp_path: Path, ends_apart: Ends) -> None:
    with mounted(tmp_path / "mounted", "ro") as folder:
        ends_apart(bids, folder / "out", "participant", "-w", tmp_path / "work", *QUICK)


@WITHOUT_POWERS
@pytest.mark.fault(
    "`output_dir` of somebody else", says="no permission to write there", code=73, keeps=NOTHING
)
def test_output_of_somebody_else(bids: Path, tmp_path: Path, ends_apart: Ends) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    words = ("participant", "-w", tmp_path / "work", *QUICK)
    ends_apart(bids, tmp_path / "theirs/out", *words, prefix=without("dac_override"))


@WITHOUT_POWERS
@pytest.mark.fault(
    "A home folder that can't be entered, as with `docker run --user` and `HOME=/root`",
    says="",
    code=0,
    keeps="everything",
)
def test_locked_home(bids: Path, tmp_path: Path, ends_apart: Ends) -> None:
    locked = tmp_path / "home"
    locked.mkdir(mode=0)
    prefix = without("dac_override", "dac_read_search")
    words = ("participant", "-w", tmp_path / "work", *QUICK, "--boilerplate-only")
    try:
        ends_apart(bids, tmp_path / "out", *words, prefix=prefix, HOME=str(locked))
    finally:
        locked.chmod(0o755)


@pytest.mark.fault("The current folder has been removed", says="give a full path", code=66, keeps=NOTHING)
def test_no_current_folder(bids: Path, tmp_path: Path, ends_apart: Ends) -> None:
    (tmp_path / "gone").mkdir()
    prefix = shell('rmdir "$PWD"; exec "$@"')
    ends_apart(bids, "out", "participant", *QUICK, home=tmp_path / "gone", prefix=prefix)
