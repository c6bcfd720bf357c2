"""The group level's order of work: sessions asked for, results that earlier runs left."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from epvs_bids.analyses import ANALYSES
from epvs_bids.analyses.options import GroupSettings
from epvs_bids.errors import EmptySelectionError, MissingInputError
from epvs_bids.reports.run import run_view
from epvs_bids.settings import Settings
from epvs_bids.workflows.group import RESULTS, make_study, run_group

SCANS = ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data set with ratings, and scores and regions of three sessions."""
    for number, scan in enumerate(SCANS):
        folder = tmp_path.joinpath("out", *scan.split("_"), "anat")
        folder.mkdir(parents=True)
        table = f"region\tscore\tqc_pass\nBG\t{number + 1}.5\ttrue\n"
        (folder / f"{scan}_desc-epvs_scores.tsv").write_text(table)
        (folder / f"{scan}_space-scanner_res-05_label-BG_desc-roi_T2w.nii.gz").touch()
    (tmp_path / "bids/phenotype").mkdir(parents=True)
    rows = "sub-01\tses-1\t1\nsub-01\tses-2\t2\nsub-02\tn/a\t3\n"
    (tmp_path / "bids/phenotype/epvs.tsv").write_text(f"participant_id\tsession_id\trater1\n{rows}")
    return tmp_path


def settings_of(
    home: Path, *analyses: str, sessions: Sequence[str] = (), people: Sequence[str] = ()
) -> Settings:
    return Settings(
        bids_dir=home / "bids",
        output_dir=home / "out",
        level="group",
        participant_labels=tuple(people),
        session_labels=tuple(sessions),
        group=GroupSettings(analyses=analyses),
    )


def test_sessions_asked_for_choose_scores_regions_and_ratings(home: Path) -> None:
    study = make_study(settings_of(home, sessions=["1"]))
    assert study.scores["scan"].tolist() == ["sub-01_ses-1", "sub-02_ses-1"]
    assert [region.scan for region in study.regions] == ["sub-01_ses-1", "sub-02_ses-1"]
    assert study.ratings["rater1"].tolist() == [1, 3]  # one that names no session may be of any
    assert study.usable_ratings["rater1"].tolist() == [1, 3]
    assert len(make_study(settings_of(home)).scores) == 3


def test_sessions_that_nobody_has_are_an_error(home: Path) -> None:
    assert run_group(settings_of(home, "summary", sessions=["9"])) == 66
    entry = json.loads((home / "out" / RESULTS).read_text())["analyses"][0]
    assert "participants and sessions asked for" in entry["reason"]


def statuses(home: Path) -> dict[str, str]:
    found = json.loads((home / "out" / RESULTS).read_text())["analyses"]
    return {entry["name"]: entry["status"] for entry in found}


def test_an_analysis_leaves_the_others_on_the_page(home: Path) -> None:
    path = home / "out" / RESULTS
    run_group(settings_of(home, "potter"))
    run_group(settings_of(home, "summary"))
    assert list(statuses(home)) == ["summary", "potter"]  # in the order of `ANALYSES`
    assert (home / "out/group_analyses.tsv").read_text().splitlines()[1].startswith("summary\tdone")
    content = json.loads(path.read_text())
    content["analyses"] += [content["analyses"][0] | {"name": "magic"}, {"name": "age"}, "odd"]
    content["analyses"][0]["summary"] = "of an earlier run"
    path.write_text(json.dumps(content))
    run_group(settings_of(home, "summary"))
    assert list(statuses(home)) == ["summary", "potter"]
    assert "of an earlier run" not in path.read_text()
    assert set(statuses(home)) < set(ANALYSES)


@pytest.mark.parametrize("content", ["{", "[]", '{"analyses": 3}'])
def test_damaged_results_are_written_anew(
    content: str, home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("epvs_bids"), "propagate", True)
    (home / "out" / RESULTS).write_text(content)
    assert run_group(settings_of(home, "summary")) == 0
    assert statuses(home) == {"summary": "done"}
    assert ("written anew" in caplog.text) == (content != '{"analyses": 3}')


def test_labels_that_nobody_has_select_nothing(home: Path) -> None:
    with pytest.raises(EmptySelectionError, match=r"sub-nobody.*Correct --participant-label"):
        run_group(settings_of(home, people=["nobody"]))
    with pytest.raises(MissingInputError):
        run_group(settings_of(home / "bids", people=["nobody"]))
    assert not (home / "bids/out").exists()


def test_a_run_leaves_its_settings_and_messages(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="epvs_bids")
    settings = settings_of(home, "summary", people=["01", "nobody"])
    monkeypatch.setenv("RANK", "1")
    assert run_group(settings) == 0
    assert not (home / "out/logs").exists()
    monkeypatch.setenv("RANK", "0")
    caplog.set_level("INFO", logger="epvs_bids")  # of the leading process, as it starts
    assert run_group(settings) == 0
    (log,) = (home / "out/logs").glob("*_messages.log")
    assert "WARNING sub-nobody was asked for" in log.read_text()
    assert "sub-01 was asked for" not in log.read_text()
    assert (
        json.loads(Path(str(log).replace("_messages.log", "_settings.json")).read_text())["level"] == "group"
    )
    assert dict(run_view(home / "out")["settings"])["group · analyses"] == "summary"
