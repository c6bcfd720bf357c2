"""Why a step failed, with and without the file that it writes about that."""

from __future__ import annotations

from pathlib import Path
from traceback import format_exception
from types import SimpleNamespace

from epvs_bids.errors import BadDataError
from epvs_bids.files import write_json
from epvs_bids.interfaces.base import FAILURE
from epvs_bids.workflows.monitor import failure_of


def node(folder: Path, error: Exception | None = None) -> SimpleNamespace:
    traceback = None if error is None else format_exception(error)
    return SimpleNamespace(output_dir=lambda: str(folder), _traceback=traceback)


def test_the_file_goes_before_the_traceback(tmp_path: Path) -> None:
    write_json(tmp_path / FAILURE, {"reason": "words", "exit_code": 66})
    assert failure_of(node(tmp_path, BadDataError("others"))) == {"reason": "words", "exit_code": 66}


def test_a_full_disk_is_not_taken_for_a_killed_job(tmp_path: Path) -> None:
    failure = failure_of(node(tmp_path, OSError(28, "No space left on device", "x.pklz")))
    assert failure["exit_code"] == 73
    assert failure["reason"].startswith(f"Cannot write {tmp_path}: the disk is full")


def test_traceback_of_our_own_and_of_any_error(tmp_path: Path) -> None:
    assert failure_of(node(tmp_path, BadDataError("x.nii: damaged"))) == {
        "reason": "x.nii: damaged",
        "exit_code": 65,
    }
    other = failure_of(node(tmp_path, ValueError("odd")))
    assert other["exit_code"] == 1
    assert other["reason"].startswith("ValueError: odd (unexpected")


def test_no_word_at_all_is_a_killed_job(tmp_path: Path) -> None:
    assert failure_of(node(tmp_path))["exit_code"] == 75
