"""What is found in the output folder, whatever state it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from epvs_bids.files import write_json
from epvs_bids.reports import outputs
from epvs_bids.reports.participant import participant_view

from .conftest import write_group, write_images, write_scores


def test_files_of_each_scan_are_found_by_role(tmp_path: Path) -> None:
    write_images(tmp_path, "sub-1_ses-a", suffix="PDw")
    write_images(tmp_path, "sub-1_ses-a_run-2", suffix="PDw", saliency=False)
    write_scores(tmp_path, "sub-1_ses-a", 3.0, suffix="PDw")
    (
        tmp_path / "sub-1" / "ses-a" / "anat" / "sub-1_ses-a_label-BG_desc-saliency_PDw.nii.gz"
    ).touch()  # native space
    first, second = outputs.find_scans(tmp_path, "sub-1")
    assert (first.name, first.session, first.suffix) == ("sub-1_ses-a", "ses-a", "PDw")
    assert first.space == "MNI152NLin2009cAsym"
    assert set(first.files) == {"head", "scan", "mask", "region", "saliency", "scores", "sidecar"}
    assert "space-" in first.files["saliency"].name
    assert "res-1_" in first.files["head"].name
    assert second.name == "sub-1_ses-a_run-2"
    assert set(second.files) == {"head", "scan", "mask", "region"}


def test_names_are_those_that_the_participant_level_writes(tmp_path: Path) -> None:
    from epvs_bids.bids.derivatives import ScanOutputs
    from epvs_bids.bids.scan import Scan

    scan = Scan(participant="01", session="2", path=Path("sub-01_ses-2_acq-hi_T2w.nii.gz"))
    written = ScanOutputs(tmp_path, scan, "MNI152NLin2009cAsym")
    paths = {
        "head": written.image("T2w", res="1", desc="preproc"),
        "scan": written.image("T2w", res="05", desc="preproc"),
        "mask": written.image("probseg", res="05", label="BG", desc="smooth"),
        "region": written.image("T2w", res="05", label="BG", desc="roi"),
        "saliency": written.image("T2w", res="05", label="BG", desc="saliency"),
        "scores": written.scores,
        "sidecar": written.scores.with_suffix(".json"),
    }
    written.folder.mkdir(parents=True)
    for path in [*paths.values(), written.image("T2w", label="BG", desc="saliency")]:
        path.touch()
    (found,) = outputs.find_scans(tmp_path, "sub-01")
    assert found.files == paths
    assert found.name == scan.entities


def test_images_are_those_that_the_score_was_made_of(tmp_path: Path) -> None:
    for suffix in ("PDw", "T2w"):
        write_images(tmp_path, "sub-1", suffix=suffix)
    for suffix in ("PDw", "T2w"):
        write_scores(tmp_path, "sub-1", 3.0, suffix=suffix)
        (scan,) = outputs.find_scans(tmp_path, "sub-1")
        assert (scan.suffix, scan.space) == (suffix, "MNI152NLin2009cAsym")
        images = {scan.files[role].name for role in ("head", "scan", "region", "saliency")}
        assert all(name.endswith(f"_{suffix}.nii.gz") for name in images)


def test_cohort_is_what_is_scored_now_and_the_group_page_what_the_group_level_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scores(tmp_path, "sub-1", 3.0)
    write_scores(tmp_path, "sub-2_ses-b", 4.5)
    rows = outputs.cohort(tmp_path)
    assert [(row["participant_id"], row["session_id"], row["scan"], row["score"]) for row in rows] == [
        ("sub-1", "n/a", "sub-1", "3.0"),
        ("sub-2", "ses-b", "sub-2_ses-b", "4.5"),
    ]
    (tmp_path / "figures").mkdir()
    assert outputs.group_scores(tmp_path) == rows
    write_group(tmp_path, 10)
    assert len(outputs.group_scores(tmp_path)) == 10
    with monkeypatch.context() as once:
        once.delattr(outputs, "read_score_table")
        assert outputs.cohort(tmp_path) == rows
    write_scores(tmp_path, "sub-1", 17.5)  # with another model, for instance
    assert [row["score"] for row in outputs.cohort(tmp_path)] == ["17.5", "4.5"]
    (view,) = participant_view(tmp_path, "sub-1", outputs.cohort(tmp_path))["scans"]
    assert view["scores"][0]["scans"] == 2


def test_scans_that_failed_when_run_again_are_no_context(tmp_path: Path) -> None:
    for number, score in enumerate((3.0, 4.0, 5.0, 6.0), start=1):
        write_scores(tmp_path, f"sub-{number}", score)
    write_json(tmp_path / "logs" / "scans" / "sub-1_PDw.json", {"scan": "sub-1_PDw", "result": "failed"})
    everyone = outputs.cohort(tmp_path)
    assert [row["participant_id"] for row in everyone if not outputs.passed(row)] == ["sub-1"]
    (view,) = participant_view(tmp_path, "sub-2", everyone)["scans"]
    assert (view["scores"][0]["scans"], view["scores"][0]["rank"]) == (3, 17)


def test_age_of_a_session_goes_before_that_of_the_participant(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tsession_id\tage\nsub-1\tses-1\t60.5\nsub-1\tses-2\t62\nsub-2\tn/a\tn/a\nsub-3\tn/a\t71\n"
    )
    ages = outputs.ages(tmp_path)
    assert outputs.age_of(ages, "sub-1", "ses-2") == 62
    assert outputs.age_of(ages, "sub-3", "") == 71
    assert outputs.age_of(ages, "sub-3", "ses-9") == 71
    assert outputs.age_of(ages, "sub-2", "") is None


def test_page_shows_age_and_sex_of_the_data_set_before_the_group_level_ran(tmp_path: Path) -> None:
    write_scores(tmp_path, "sub-1", 3.0)
    write_scores(tmp_path, "sub-2", 4.0)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\n1\t62.5\tF\nsub-2\t89+\tn/a\n")
    assert outputs.age_of(outputs.ages(tmp_path), "sub-1", "") == 62.5
    assert outputs.person(tmp_path, "sub-2") == {"participant_id": "sub-2", "age": "89+"}
    assert outputs.person(tmp_path, "sub-3") == {}
    (first,) = participant_view(tmp_path, "sub-1", outputs.cohort(tmp_path))["scans"]
    (second,) = participant_view(tmp_path, "sub-2", outputs.cohort(tmp_path))["scans"]
    assert [(scan["age"], scan["sex"]) for scan in (first, second)] == [("62.5", "F"), ("89+", "")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), ("-2", -2.0), ("n/a", None), ("", None), ("nan", None), ("inf", None), (None, None)],
)
def test_numbers(text: str | None, value: float | None) -> None:
    assert outputs.number(text) == value


@pytest.mark.parametrize(("text", "passed"), [("true", True), ("False", False), ("0", False), ("n/a", True)])
def test_quality_control_passes_unless_it_says_otherwise(text: str, passed: bool) -> None:
    assert outputs.passed({"qc_pass": text}) is passed


def test_broken_files_are_logged_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.tsv").write_bytes(b"a\tb\n1\n\xff\xfe\t3\t4\t5\n")
    (tmp_path / "a.json").write_text("{")
    assert outputs.rows(tmp_path / "a.tsv") == []
    assert outputs.content(tmp_path / "a.json") == {}
    assert outputs.content(tmp_path / "none.json") == {}
    assert len(caplog.records) == 2
