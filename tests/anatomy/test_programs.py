"""Programs run in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from epvs_bids.anatomy.programs import run_program
from epvs_bids.errors import BadDataError, MissingInputError, TryAgainError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_goes_to_the_log_and_threads_are_limited(tmp_path: Path) -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['EXTRA'])"
    run_program(python(code), log=tmp_path / "logs" / "a.log", threads=3, variables={"EXTRA": "yes"})
    assert (tmp_path / "logs" / "a.log").read_text() == "3 yes\n"


def test_memory_kill(tmp_path: Path) -> None:
    with pytest.raises(TryAgainError, match="memory ran out"):
        run_program(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), log=tmp_path / "a.log")


def test_crash_and_failure_end_with_the_last_words(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"stopped by signal 11: half-way .*a\.log"):
        run_program(
            python("import os; print('half-way', flush=True); os.kill(os.getpid(), 11)"),
            log=tmp_path / "a.log",
        )
    with pytest.raises(BadDataError, match="exit status 3: no such atlas"):
        run_program(python("print('no such atlas\\n'); raise SystemExit(3)"), log=tmp_path / "b.log")


def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="cannot be started"):
        run_program([tmp_path / "nowhere"], log=tmp_path / "a.log")
