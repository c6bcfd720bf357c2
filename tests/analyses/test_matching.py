"""Scores and ratings find each other, and where they can't it is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.matching import listed, one_a_participant, rated_scans, usable_scores, with_site
from epvs_bids.errors import BadDataError, CannotRun

from .conftest import write_scores

MakeStudy = Callable[..., Study]


def test_rows_meet_by_participant_and_session(make_study: MakeStudy) -> None:
    table = rated_scans(make_study(20, rescanned=5)).table
    assert len(table) == 20
    assert set(table["session_id"]) == {"ses-1"}
    assert abs(table["score"] - table["A"]).mean() < 3


def test_ratings_without_session_need_a_single_one(make_study: MakeStudy) -> None:
    study = make_study(20, rescanned=5)
    path = study.ratings_path
    path.write_text(path.read_text().replace("ses-1", "n/a"))
    with pytest.raises(
        BadDataError, match=r"epvs.tsv, row 2, sub-0001, column session_id: .* 2 sessions .* where one is"
    ):
        rated_scans(study)


def test_ratings_with_sessions_of_scans_without_one(make_study: MakeStudy) -> None:
    study = make_study(20)
    path = study.ratings_path
    text = path.read_text().replace("n/a", "ses-1")
    path.write_text(text)
    assert len(rated_scans(study).table) == 20
    path.write_text(text + "sub-0001\tses-2\t1\t1\t1\n")
    with pytest.raises(BadDataError, match=r"epvs.tsv, row \d+, .*2 sessions where one is expected"):
        rated_scans(Study(study.output_dir, study.bids_dir))


def test_two_scans_of_a_session_are_one_session(make_study: MakeStudy) -> None:
    """One acquisition failed quality control, the other is used."""
    study = make_study(6)
    write_scores(study.output_dir, "sub-0002_acq-a", "", 90.0, qc_pass="false", qc_reason="blurred")
    folder = study.output_dir / "sub-0002_acq-a"
    for path in (folder / "anat").iterdir():
        path.rename(study.output_dir / "sub-0002" / "anat" / path.name)
    shutil.rmtree(folder)
    assert len(rated_scans(study).table) == 6


def test_two_rows_about_the_only_scored_session_are_named(make_study: MakeStudy) -> None:
    study = make_study(5)
    for path in (study.output_dir / "sub-0002").rglob("*.tsv"):
        path.unlink()
    write_scores(study.output_dir, "sub-0002", "ses-1", 3.0)
    path = study.ratings_path
    text = path.read_text() + "sub-0002\tses-1\tn/a\tn/a\tn/a\n"
    path.write_text(text)
    assert len(rated_scans(Study(study.output_dir, study.bids_dir)).table) == 5  # nothing is rated there
    path.write_text(text.replace("ses-1\tn/a", "ses-1\t4"))
    with pytest.raises(
        BadDataError, match=r"epvs.tsv, rows 3 and 7, sub-0002, .*both are about ses-1, .*keep one"
    ):
        rated_scans(Study(study.output_dir, study.bids_dir))


def test_ratings_may_be_called_like_a_score_that_is_not_beside_them(make_study: MakeStudy) -> None:
    study = make_study(20)
    path = study.ratings_path
    text = path.read_text()
    path.write_text(text.replace("A\tB1\tB2", "A\tpotter_class\tregion"))
    assert {"potter_class", "region"} <= set(rated_scans(study).table.columns)
    for name in ("score", "scan", "model", "method"):
        path.write_text(text.replace("A\tB1", f"A\t{name}"))
        with pytest.raises(BadDataError, match=rf"epvs.tsv, column {name}: .*rename .*{name}_A"):
            rated_scans(Study(study.output_dir, study.bids_dir))


def test_failed_scans_and_unscored_ratings_are_left_out_by_name(make_study: MakeStudy) -> None:
    study = make_study(20)
    write_scores(study.output_dir, "sub-0003", "", 90.0, qc_pass="false", qc_reason="blurred")
    for path in (study.output_dir / "sub-0004").rglob("*.tsv"):
        path.unlink()
    matched = rated_scans(study)
    assert len(matched.table) == 18
    assert "failed quality control, 1 scan: sub-0003" in matched.notes[0]
    assert "without a usable score, 2 scans: sub-0003, sub-0004" in matched.notes[1]


def test_two_scans_of_one_session_are_an_error(make_study: MakeStudy) -> None:
    study = make_study(20)
    folder = study.output_dir / "sub-0001" / "anat"
    first = next(folder.glob("*.tsv"))
    (folder / "sub-0001_run-2_T2w_desc-epvs_scores.tsv").write_text(first.read_text())
    with pytest.raises(BadDataError, match="one session, where one scan is expected"):
        usable_scores(study)


def test_nothing_scored_is_a_reason(make_study: MakeStudy) -> None:
    study = make_study(3)
    with pytest.raises(CannotRun, match="run the participant level first"):
        _ = Study(study.output_dir / "nowhere").scores


def test_a_damaged_table_of_scores_is_named(make_study: MakeStudy) -> None:
    study = make_study(3)
    path = next(study.output_dir.rglob("*_scores.tsv"))
    path.write_text("region\tscore\nBG\tmany\n")
    with pytest.raises(BadDataError, match=r"_scores.tsv, row 2, column score: 'many'"):
        _ = study.scores


def test_first_sessions_and_sites(make_study: MakeStudy) -> None:
    study = make_study(20, rescanned=5, site="scanner")
    single = one_a_participant(usable_scores(study).table)
    assert len(single.table) == 20
    assert "5 later ones" in single.notes[0]
    assert set(with_site(study, single.table)["site"]) == {"one", "two"}
    wrong = Study(study.output_dir, study.bids_dir, study.options.__class__(site="place"))
    with pytest.raises(BadDataError, match="no column place"):
        with_site(wrong, single.table)


def test_long_lists_are_cut() -> None:
    assert listed(["a"]) == "1 scan: a"
    assert listed([str(i) for i in range(12)]).endswith("9 and 2 more")
