"""What the participant level leaves beside scores: word of missing scans, pages, settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.bids.query import Selection, Unavailable, find_scans
from epvs_bids.bids.scan import Scan
from epvs_bids.files import read_json, write_json
from epvs_bids.progress import Outcome
from epvs_bids.reports.run import run_view
from epvs_bids.settings import Settings
from epvs_bids.workflows import server
from epvs_bids.workflows.engine import configure
from epvs_bids.workflows.participant import _in_order, _state, _write_missing, _write_pages


def settings_of(bids: Path) -> Settings:
    home = bids.parent
    return Settings(
        bids_dir=bids, output_dir=home / "out", level="participant", work_dir=home / "w", nprocs=1
    )


def test_a_missing_scan_that_is_found_later_is_not_missing_any_more(empty_files: Callable[..., Path]) -> None:
    bids = empty_files(
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz"
    )
    settings = settings_of(bids)
    word = settings.output_dir / "logs/scans/sub-01.json"
    assert _write_missing(settings, find_scans(bids)) == ["01"]
    assert read_json(word)["result"] == "missing"
    (bids / "sub-01/ses-1/anat/sub-01_ses-1_PDw.nii.gz").touch()
    assert _write_missing(settings, find_scans(bids)) == []
    assert not word.exists()


def test_a_session_that_is_not_asked_for_makes_nobody_missing(empty_files: Callable[..., Path]) -> None:
    bids = empty_files(*(f"sub-0{n}/ses-{n}/anat/sub-0{n}_ses-{n}_T2w.nii.gz" for n in (1, 2)))
    settings = settings_of(bids)
    write_json(settings.output_dir / "logs/scans/sub-01.json", {"result": "missing"})
    assert _write_missing(settings, find_scans(bids, sessions=["2"])) == []
    assert list((settings.output_dir / "logs/scans").iterdir()) == []


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PRELOADED", ["epvs_bids.reports.pages"])


@pytest.mark.usefixtures("light")
def test_pages_tell_of_the_group_level_and_of_failures(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "bids")
    out = settings.output_dir
    (out / "sub-01" / "anat").mkdir(parents=True)
    configure(settings, out / "logs")
    assert _write_pages(settings, ["01"]) == []
    page = out / "sub-01.html"
    assert "once the group level has run" in page.read_text()
    (out / "group.html").touch()
    assert _write_pages(settings, ["01"]) == []
    assert "once the group level has run" not in page.read_text()
    page.unlink()
    page.mkdir()
    (failed,) = _write_pages(settings, ["01"])
    assert (failed.scan, failed.result, failed.exit_code) == ("sub-01.html", "failed", 73)
    assert "a folder of that name is in the way" in failed.reason
    assert "--reports-only" in failed.reason


def test_pages_that_failed_are_told_behind_the_scans() -> None:
    scan = Scan("01", None, Path("sub-01_PDw.nii.gz"))
    selection = Selection((scan,), (Unavailable("02", "no scan", asked=False),))
    outcomes = [Outcome("sub-01.html", "failed", exit_code=73), Outcome("sub-01_PDw", "made")]
    assert [one.scan for one in _in_order(selection, outcomes)] == ["sub-01_PDw", "sub-02", "sub-01.html"]


def test_the_state_of_files_does_not_mind_other_jobs(tmp_path: Path) -> None:
    kept = tmp_path / "a.tsv"
    kept.write_text("x")
    before = _state([kept])
    (tmp_path / ".a.1234.tmp.tsv").touch()
    assert _state([*sorted(tmp_path.iterdir()), tmp_path / "gone", kept / "below a file"]) == before
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            (tmp_path / "b").touch()
            (tmp_path / "b").unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(2000):
            _state([tmp_path / "b"])
    finally:
        done.set()
        other.join()


def test_settings_are_those_of_a_run_that_had_the_participant(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for number, labels in enumerate(([], ["01"], ["02"])):
        write_json(
            logs / f"{number}_settings.json",
            {"level": "participant", "participant_labels": labels, "run": number},
        )
    write_json(logs / "3_settings.json", {"level": "group", "participant_labels": [], "run": 3})
    (logs / ".3_settings.1234.tmp.json").write_text("{")
    (logs / "gone_settings.json").symlink_to("nowhere")

    def run_of(participant: str) -> str:
        return dict(run_view(tmp_path, participant)["settings"])["run"]

    assert [run_of(participant) for participant in ("sub-01", "sub-02", "sub-03", "")] == ["1", "2", "0", "3"]
