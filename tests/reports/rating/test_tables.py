from __future__ import annotations

import errno
import fcntl
import logging
from pathlib import Path

import numpy as np
import pytest

from epvs_bids.errors import BadDataError
from epvs_bids.files import read_json
from epvs_bids.reports.rating import tables


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_merging_keeps_every_other_cell_as_it_was_spelt(tmp_path: Path) -> None:
    text = 'participant_id\told\tnote\nsub-01\t3.0\t"quoted\n02\tn/a\t007\n'
    table = tables.read_table(write(tmp_path / "epvs.tsv", text), ["participant_id"])
    assert table.text() == text
    merged = tables.with_count(table, 1, participant_id="sub-02", session_id="", column="A1", value="4")
    merged = tables.with_count(
        merged, None, participant_id="sub-02", session_id="ses-1", column="A1", value="5"
    )
    assert merged.text() == (
        'participant_id\tsession_id\told\tnote\tA1\nsub-01\tn/a\t3.0\t"quoted\tn/a\n02\tn/a\tn/a\t007\t4\n'
        "sub-02\tses-1\tn/a\tn/a\t5\n"
    )


def test_a_count_is_replaced_in_place() -> None:
    table = tables.Table(
        ("participant_id", "session_id", "A1"), ({"participant_id": "sub-1", "session_id": "1", "A1": "9"},)
    )
    row = tables.find_rows(table, {"sub-1": ["ses-1"]})["sub-1", "ses-1"]
    new = tables.with_count(table, row, participant_id="sub-1", session_id="ses-1", column="A1", value="8")
    assert new.text().splitlines()[1:] == ["sub-1\t1\t8"]


def test_doubled_rows_and_missing_columns_are_named(tmp_path: Path) -> None:
    doubled = tables.read_table(
        write(tmp_path / "a.tsv", "participant_id\tA\nsub-1\t1\n1\t2\n"), ["participant_id"]
    )
    with pytest.raises(BadDataError, match=r"Rows 2 and 3 .* sub-1"):
        tables.find_rows(doubled, {"sub-1": [""]})
    with pytest.raises(BadDataError, match="participant_id is missing"):
        tables.read_table(write(tmp_path / "b.tsv", "subject\tA\n1\t1\n"), ["participant_id"])


def _found(rows: list[tuple[str, str]], sessions: dict[str, list[str]]) -> dict[tuple[str, str], int]:
    columns = ("participant_id", "session_id")
    table = tables.Table(columns, tuple(dict(zip(columns, row, strict=True)) for row in rows))
    return tables.find_rows(table, sessions)


def test_a_row_or_scan_without_session_belongs_to_the_only_one_of_the_participant() -> None:
    rows = [("sub-01", "n/a"), ("sub-02", "NA"), ("sub-03", "ses-1"), ("sub-04", "1"), ("sub-04", "2")]
    sessions = {"sub-01": ["ses-1"], "sub-02": ["ses-1", "ses-2"], "sub-03": [""], "sub-04": [""]}
    assert _found(rows, sessions) == {("sub-01", "ses-1"): 0, ("sub-03", ""): 2}
    with pytest.raises(BadDataError, match=r"Rows 2 and 3 .* sub-01 ses-1"):
        _found([("sub-01", "n/a"), ("01", "")], {"sub-01": ["ses-1"]})
    both = [("sub-01", "n/a"), ("sub-01", "ses-1")]
    assert _found(both, {"sub-01": ["ses-1"]}) == {("sub-01", "ses-1"): 1}


def test_zeros_may_be_missing_where_one_participant_fits() -> None:
    rows = [("1", "n/a"), ("sub-0002", "n/a")]
    assert _found(rows, {"sub-01": [""], "sub-02": [""]}) == {("sub-01", ""): 0, ("sub-02", ""): 1}
    assert _found(rows, {"sub-01": [""], "sub-1": []}) == {}  # sub-1 is somebody else
    assert _found(rows, {"sub-01": [""], "sub-001": [""]}) == {}


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "epvs.tsv"
    path.write_bytes("\ufeffparticipant_id\tA\r\nsub-1\t2\r\n".encode())
    table = tables.read_table(path, ["participant_id"])
    assert table.columns == ("participant_id", "A")
    assert table.rows == ({"participant_id": "sub-1", "A": "2"},)


def test_marks_of_other_raters_stay() -> None:
    empty = tables.Table(tables.MARKER_COLUMNS, ())
    one = tables.with_marks(empty, column="A1", points=np.array([[1.0, 2.0, 3.0]]))
    two = tables.with_marks(one, column="B1", points=np.array([[4.0, 5.0, 6.12345], [7, 8, 9]]))
    again = tables.with_marks(two, column="A1", points=np.empty((0, 3)))
    assert again.text() == "x\ty\tz\trater\n4.000\t5.000\t6.123\tB1\n7.000\t8.000\t9.000\tB1\n"


def test_data_dictionary_is_completed_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "epvs.tsv"
    write(path.with_suffix(".json"), '{"B1": {"Description": "ours"}, "MeasurementToolMetadata": {"x": 1}}')
    table = tables.Table(("participant_id", "B1", "A1"), ())
    tables.write_counts(path, table, {"A1": tables.count_description("A", 1)})
    dictionary = read_json(path.with_suffix(".json"))
    assert dictionary["B1"] == {"Description": "ours"}
    assert dictionary["MeasurementToolMetadata"] == {"x": 1}
    assert dictionary["A1"]["Units"] == "count"
    assert "session_id" not in dictionary


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with tables.locked(path, wait=False) as first, tables.locked(path, wait=False) as second:
        assert first
        assert not second
    with tables.locked(path, wait=False) as third:
        assert third


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_without_locks_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with tables.locked(tmp_path / "lock", wait=False) as first, tables.locked(tmp_path / "lock") as second:
        assert first
        assert second
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "run only one epvs-rate" in warnings[0]
