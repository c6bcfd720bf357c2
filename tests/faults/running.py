"""Running the app as a process of its own, and judging how it ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import pytest

from epvs_bids.settings import Settings
from epvs_bids.workflows.plan import work_folder

Head = tuple[nib.Nifti1Image, nib.Nifti1Image]
ROOT = Path(__file__).resolve().parents[2]
OFFLINE = ("--template", "MNI152NLin2009aSym", "--skip-bids-validation", "--nprocs", "1")
"""Options of every run here: the template that nilearn carries, no validator, one process."""

NOTHING = "nothing was begun"
KEPT = "all results of the other participants"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts and namespaces")
WITHOUT_POWERS = pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="needs setpriv, for a root that permissions hold for"
)


def judge(mark: pytest.Mark, code: int, shown: str) -> str:
    """Compare how a run ended with the mark; no traceback and no `unexpected` is for users' eyes."""
    flat = " ".join(shown.split())
    assert mark.kwargs["says"] in flat
    assert code == mark.kwargs["code"], flat
    assert "Traceback" not in flat
    assert "unexpected" not in flat
    return flat


def start(
    *words: object, home: Path, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.Popen[str]:
    """Start the app as a process of its own, with both streams in one pipe."""
    command = [*prefix, sys.executable, str(ROOT / "run.py"), *map(str, words)]
    variables = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "250", **environment}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables, cwd=home
    )


def without(*powers: str) -> tuple[str, ...]:
    """What to put before a command so that permissions hold for root too."""
    if os.geteuid() != 0:
        return ()
    taken = ",".join(f"-{power}" for power in powers)
    return ("setpriv", f"--inh-caps={taken}", f"--bounding-set={taken}")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount an empty file system in memory on a new folder."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("can't mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def holding_locks(bids: Path, work: Path, participants: list[str]) -> Iterator[None]:
    """Hold the locks of participants in another process, as a second run would."""
    folder = work_folder(Settings(bids_dir=bids, output_dir=bids, level="participant", work_dir=work))
    program = (
        "import sys; from pathlib import Path; from epvs_bids.workflows.engine import Locks; "
        "locks = Locks(Path(sys.argv[1])); print(locks.take(sys.argv[2:]), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder), *participants]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "set()"
        yield
        other.communicate()
