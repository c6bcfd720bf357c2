from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epvs_bids.errors import BadDataError, CannotCreateError, EPVSError, TryAgainError
from epvs_bids.reports.rating.cli import build_store
from epvs_bids.reports.rating.store import Store

from .phantom import scanner_point, write_scan

MARKS = [[12.5, 6.0, -5.0], [-9.25, 11.0, -5.0]]


def store_of(output: Path, *, repeats: float = 0.0, bids_dir: Path | None = None) -> Store:
    return build_store(output, bids_dir=bids_dir, seed=0, repeats=repeats)


def position_of(store: Store, rater: str, scan: str, number: int = 1) -> int:
    readings = [store.open(rater).readings[index] for index in store.visible(rater)]
    return next(index for index, one in enumerate(readings) if (one.scan, one.number) == (scan, number))


def rate(
    store: Store, rater: str, scan: str, marks: list[list[float]], *, number: int = 1, state: str = "done"
) -> None:
    content = {"marks": marks, "level": -5.0, "state": state}
    store.save(rater, position_of(store, rater, scan, number), content, page=store.begin(rater)["page"])


def counts(store: Store) -> pd.DataFrame:
    frame = pd.read_csv(store.counts_path, sep="\t", na_values="n/a")
    if "session_id" not in frame:
        frame["session_id"] = None
    return frame.set_index(["participant_id", "session_id"]).sort_index()


def test_counts_and_marks_in_scanner_millimetres(output: Path) -> None:
    store = store_of(output)
    rate(store, "A", "sub-02_ses-1", MARKS)
    assert counts(store).loc[("sub-02", "ses-1"), "A1"] == 2
    marks = pd.read_csv(store.folder / "sub-02/ses-1/anat/sub-02_ses-1_desc-epvs_markers.tsv", sep="\t")
    image = store.scans["sub-02_ses-1"].image
    np.testing.assert_allclose(
        marks[["x", "y", "z"]], [scanner_point(image, tuple(mark)) for mark in MARKS], atol=6e-4
    )
    assert marks["rater"].tolist() == ["A1", "A1"]


def test_open_readings_are_kept_but_not_counted(output: Path) -> None:
    store = store_of(output)
    rate(store, "A", "sub-01", MARKS, state="open")
    assert not store.counts_path.exists()
    store.close()
    again = store_of(output)
    reading, _ = again.reading("A", position_of(again, "A", "sub-01"))
    assert [list(mark) for mark in reading.marks] == MARKS


def test_raters_and_repeats_have_columns_of_their_own(output: Path) -> None:
    store = store_of(output, repeats=1.0)
    for rater, number, marks in (("A", 1, MARKS), ("A", 2, MARKS[:1]), ("B", 1, [])):
        for scan in {one.scan for one in store.open(rater).readings if one.number == number}:
            rate(store, rater, scan, marks, number=number)
    table = counts(store)
    assert table["A1"].tolist() == [2, 2, 2]
    assert table["B1"].tolist() == [0, 0, 0]
    assert set(table["A2"].dropna()) == {1}
    assert 1 <= table["A2"].notna().sum() < 3
    path = next(store.folder.glob("sub-*/**/*_markers.tsv"))
    assert set(pd.read_csv(path, sep="\t")["rater"]) <= {"A1", "A2"}


def test_changing_and_withdrawing_a_reading(output: Path) -> None:
    store = store_of(output)
    rate(store, "A", "sub-01", MARKS)
    rate(store, "A", "sub-01", MARKS[1:])
    assert counts(store)["A1"].tolist() == [1]
    rate(store, "A", "sub-01", [], state="unratable")
    assert counts(store)["A1"].isna().all()
    assert store.marks_path(store.scans["sub-01"]).read_text().count("\n") == 1


def test_the_bids_root_can_be_named(output: Path, tmp_path: Path) -> None:
    bids = tmp_path / "bids"
    (bids / "phenotype").mkdir(parents=True)
    (bids / "phenotype/epvs.tsv").write_text("participant_id\tsession_id\tHA\nsub-01\tn/a\t7\n")
    store = store_of(output, bids_dir=bids)
    rate(store, "A", "sub-01", MARKS)
    assert (
        bids / "phenotype/epvs.tsv"
    ).read_text() == "participant_id\tsession_id\tHA\tA1\nsub-01\tn/a\t7\t2\n"
    assert (bids / "derivatives/epvs-rate/sub-01/anat/sub-01_desc-epvs_markers.tsv").exists()
    assert (
        json.loads((bids / "derivatives/epvs-rate/dataset_description.json").read_text())["DatasetType"]
        == "derivative"
    )
    ignored = (bids / "derivatives/epvs-rate/.bidsignore").read_text().split()
    assert {"*_desc-epvs_markers.*", "rater-*_state.json"} == set(ignored)  # names that BIDS does not know
    assert not (output / "phenotype").exists()


def test_columns_from_elsewhere_are_not_overwritten(output: Path) -> None:
    store = store_of(output)
    store.counts_path.parent.mkdir()
    store.counts_path.write_text("participant_id\tA1\nsub-01\t7\n")
    with pytest.raises(BadDataError, match="from elsewhere"):
        store.open("A")
    store.counts_path.unlink()
    assert store.open("A").rater == "A"


def test_a_session_is_open_in_one_process(output: Path) -> None:
    first, second = store_of(output), store_of(output)
    first.open("A")
    with pytest.raises(TryAgainError, match="another"):
        second.open("A")
    second.open("B")
    first.close()
    second.open("A")


def test_damaged_state_is_named_and_kept(output: Path) -> None:
    store = store_of(output)
    path = store.folder / "rater-A_state.json"
    path.write_text('{"format": 1')
    with pytest.raises(BadDataError, match="rater-A_state"):
        store.open("A")
    assert path.read_text() == '{"format": 1'


def test_scans_may_come_and_go(output: Path) -> None:
    store = store_of(output)
    rate(store, "A", "sub-01", MARKS)
    store.close()
    for path in (output / "sub-01/anat").iterdir():
        path.unlink()
    write_scan(output, "04")
    again = store_of(output)
    overview = again.overview("A")
    assert overview["states"] == ["open"] * 3
    assert "sub-" not in json.dumps({**overview, "table": "", "marks": ""})
    assert {one.scan for one in again.open("A").readings} == {
        "sub-01",
        "sub-02_ses-1",
        "sub-02_ses-2",
        "sub-04",
    }


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(output: Path) -> None:
    output.chmod(0o500)
    with pytest.raises(CannotCreateError, match="permission"):
        store_of(output)


def test_failed_writing_is_made_up_for(output: Path) -> None:
    store = store_of(output)
    store.counts_path.parent.mkdir()
    store.open("A")
    store.counts_path.mkdir()  # a folder in the way
    with pytest.raises(Exception, match=r"epvs\.tsv"):
        rate(store, "A", "sub-01", MARKS)
    store.close()
    store.counts_path.rmdir()
    again = store_of(output)
    again.open("A")
    assert counts(again)["A1"].tolist() == [2]


def test_a_correction_that_did_not_reach_the_table_is_made_up_for(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(output)
    for scan in ("sub-01", "sub-02_ses-1"):
        rate(store, "A", scan, MARKS)
    aside = store.counts_path.rename(store.counts_path.with_name("aside"))
    store.counts_path.mkdir()  # a folder in the way
    for scan, marks, state in (("sub-01", MARKS[:1], "done"), ("sub-02_ses-1", [], "unratable")):
        with pytest.raises(EPVSError, match=r"epvs\.tsv"):
            rate(store, "A", scan, marks, state=state)
    store.close()
    store.counts_path.rmdir()
    aside.rename(store.counts_path)
    assert counts(store)["A1"].tolist() == [2, 2]
    store_of(output).open("A")
    assert counts(store)["A1"].fillna(-1).tolist() == [1, -1]
    assert "sub-01, column A1: 2 becomes 1, as marked" in caplog.text


def test_an_older_state_takes_no_reading_back(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_of(output)
    rate(store, "A", "sub-01", MARKS)
    path = store.folder / "rater-A_state.json"
    older = path.read_text()
    rate(store, "A", "sub-02_ses-1", MARKS)
    store.close()
    path.write_text(older)
    marks = store.marks_path(store.scans["sub-02_ses-1"])
    before = (store.counts_path.read_text(), marks.read_text())
    again = store_of(output)
    assert again.overview("A")["states"].count("done") == 1
    assert (store.counts_path.read_text(), marks.read_text()) == before
    (warning,) = caplog.messages
    assert warning.startswith(f"{store.counts_path}, sub-02_ses-1, column A1 has a count that {path}")
    rate(again, "A", "sub-02_ses-1", MARKS[:1])
    assert counts(again)["A1"].tolist() == [2, 1]


def test_readings_of_an_image_that_another_has_replaced_stay(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(output, repeats=1.0)
    rate(store, "A", "sub-01", MARKS)
    store.close()
    for path in (output / "sub-01/anat").glob("*PDw*"):
        path.unlink()
    write_scan(output, "01", suffix="T2w", seed=4)
    marks = store.marks_path(store.scans["sub-01"])
    store.counts_path.write_text("participant_id\tA1\nsub-01\t3\n")
    before = (store.counts_path.read_text(), marks.read_text())
    again = store_of(output, repeats=1.0)
    again.open("A")
    (warning,) = [text for text in caplog.messages if "other images" in text]
    assert "desc-preproc_PDw.nii.gz, now sub-01_space-" in warning
    for number in {one.number for one in again.open("A").readings if one.scan == "sub-01"}:
        with pytest.raises(
            BadDataError, match=r"_PDw\.nii\.gz, and .*_T2w\.nii\.gz .* another name"
        ) as refused:
            rate(again, "A", "sub-01", MARKS[:1], number=number)
        assert "sub-01" not in str(refused.value)  # the page shows it, and is blind
    assert (store.counts_path.read_text(), marks.read_text()) == before
    rate(again, "A", "sub-02_ses-1", MARKS)
    rate(again, "B", "sub-01", MARKS)
    assert counts(again).loc["sub-01", "B1"].tolist() == [2]


def test_marks_that_were_all_removed_bind_a_rater_to_no_image(output: Path) -> None:
    store = store_of(output)
    for marks in (MARKS, []):
        rate(store, "A", "sub-01", marks, state="open")
    store.close()
    for path in (output / "sub-01/anat").glob("*PDw*"):
        path.unlink()
    write_scan(output, "01", suffix="T2w")
    rate(store_of(output), "A", "sub-01", MARKS)
    assert counts(store)["A1"].tolist() == [2]


def test_a_page_that_another_has_followed_changes_nothing(output: Path) -> None:
    store = store_of(output)
    stale, page = store.begin("A")["page"], store.begin("A")["page"]
    done = {"marks": MARKS, "level": -5.0, "state": "done"}
    store.save("A", 0, done, page=page)
    with pytest.raises(TryAgainError, match="another window"):
        store.save("A", 0, {**done, "marks": [], "state": "open"}, page=stale)
    assert store.reading("A", 0)[0].count == "2"
    store.save("B", 0, done, page=store.begin("B")["page"])  # another rater's page is no other page
    store.save("A", 0, {**done, "marks": []}, page=page)


def test_rows_of_a_labs_own_table_are_used(output: Path) -> None:
    write_scan(output, "03", "1")
    store = store_of(output)
    store.counts_path.parent.mkdir()
    store.counts_path.write_text("participant_id\tHA\n1\t7\nsub-03\t4\n")
    rate(store, "A", "sub-01", MARKS)
    rate(store, "A", "sub-03_ses-1", MARKS[:1])
    assert store.counts_path.read_text() == "participant_id\tHA\tA1\n1\t7\t2\nsub-03\t4\t1\n"
    store.close()
    store_of(output).open("A")
    assert store.counts_path.read_text().count("\n") == 3


def test_the_group_level_reads_the_table(output: Path) -> None:
    from epvs_bids.analyses.raters import kind_of_pair
    from epvs_bids.analyses.tables import rater_columns, read_ratings

    store = store_of(output, repeats=1.0)
    begun = store.begin("A")
    for position in range(len(begun["states"])):
        store.save("A", position, {"marks": MARKS, "level": -5.0, "state": "done"}, page=begun["page"])
    ratings = read_ratings(store.counts_path, known={"sub-01", "sub-02"})
    assert rater_columns(ratings, store.counts_path, rater=None, site=None) == ("A1", "A2")
    assert kind_of_pair("A1", "A2") == "intra-rater"
    assert ratings["A1"].tolist() == [2.0, 2.0, 2.0]
    assert set(zip(ratings["participant_id"], ratings["session_id"], strict=True)) == {
        ("sub-01", ""),
        ("sub-02", "ses-1"),
        ("sub-02", "ses-2"),
    }
