"""Folders that can't be used end in errors that name the remedy; the validator's errors are told apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.bids import validation
from epvs_bids.bids.validation import check_folders, validate
from epvs_bids.errors import CannotCreateError, EPVSError, InvalidBIDSError, MissingInputError

Make = Callable[..., Path]


def test_good_folders_are_created(empty_files: Make, tmp_path: Path) -> None:
    root = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    check_folders(root, {"output_dir": tmp_path / "new" / "out", "-w": tmp_path / "work"})
    assert (tmp_path / "new" / "out").is_dir()
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("bids", "out", "error", "says"),
    [
        ("nothing", "out", MissingInputError, "does not exist"),
        ("bids/README", "out", MissingInputError, "is a file"),
        ("bids", "bids", CannotCreateError, "the same folder"),
        ("bids", "bids/derivatives/epvs", CannotCreateError, "inside bids_dir"),
        ("bids", "link/x", CannotCreateError, "inside bids_dir"),
        ("bids/sub-01", "out", InvalidBIDSError, "--participant-label"),
        ("bids/sub-01/ses-1", "out", InvalidBIDSError, "one participant or session"),
        ("bids", "bids.txt/out", CannotCreateError, "not a folder"),
    ],
)
def test_folders_that_can_not_be_used(
    empty_files: Make,
    tmp_path: Path,
    *,
    bids: str,
    out: str,
    error: type[EPVSError],
    says: str,
) -> None:
    root = empty_files("sub-01/ses-1/anat/sub-01_ses-1_PDw.nii.gz")
    (tmp_path / "link").symlink_to(root)
    (tmp_path / "bids.txt").touch()
    before = sorted(root.rglob("*"))
    with pytest.raises(error, match=says):
        check_folders(tmp_path / bids, {"output_dir": tmp_path / out})
    assert sorted(root.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(empty_files: Make, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(CannotCreateError, match="no permission"):
        check_folders(empty_files(), {"output_dir": tmp_path / "locked" / "out"})


def issues(*locations: str) -> list[dict[str, str]]:
    return [{"severity": "error", "code": "BAD", "location": location} for location in locations]


def test_errors_of_participants_are_left_to_them(
    empty_files: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = empty_files()
    monkeypatch.setattr(validation, "run_validator", lambda _: issues("/sub-01/anat/sub-01_PDw.nii.gz"))
    validate(root)
    assert "sub-01_PDw" in caplog.text
    monkeypatch.setattr(validation, "run_validator", lambda _: issues("/participants.tsv"))
    with pytest.raises(InvalidBIDSError, match=r"/participants.tsv: BAD"):
        validate(root)


def test_data_set_without_description(tmp_path: Path) -> None:
    with pytest.raises(InvalidBIDSError, match=r"no dataset_description\.json"):
        validate(tmp_path)
    (tmp_path / "dataset_description.json").write_text("{")
    with pytest.raises(InvalidBIDSError, match="not valid JSON"):
        validate(tmp_path)


def test_the_validator_runs_on_a_data_set_with_a_stray_file(empty_files: Make) -> None:
    root = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    (root / "notes.txt").write_text("not BIDS")
    if validation.run_validator(root) is None:
        pytest.skip("the BIDS validator can't run here")
    with pytest.raises(InvalidBIDSError, match=r"notes\.txt"):
        validate(root)


def test_a_missing_validator_is_said_and_survived(
    empty_files: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(validation, "find_validator", lambda: None)
    validate(empty_files())
    assert "not installed" in caplog.text
