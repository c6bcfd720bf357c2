"""Bad tables end in errors that name file, row and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.tables import (
    known_participants,
    parse_ages,
    rater_columns,
    read_participants,
    read_ratings,
)
from epvs_bids.errors import BadDataError, CannotRun

KNOWN = frozenset({"sub-01", "sub-02", "sub-03"})


def table(folder: Path, *rows: str, name: str = "epvs.tsv") -> Path:
    path = folder / name
    path.write_text("\n".join(row.replace(" ", "\t") for row in rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("rows", "where", "what"),
    [
        (["participant_id A", "sub-01 3", "sub-02 many"], "row 3, column A", "'many' is not a number"),
        (["participant_id A", "sub-01 3", "sub-02 -1"], "row 3, column A", "no possible count"),
        (["participant_id A", "sub-01 3", "sub-01 4"], "row 3, column participant_id", "is in row 2 already"),
        (["participant_id A", "sub-01 3", "sub-99 4"], "row 3, column participant_id", "not in the data set"),
        (["participant_id A", "n/a 3"], "row 2, column participant_id", "empty"),
        (["participant A", "sub-01 3"], "column participant_id", "missing"),
        (["participant_id notes", "sub-01 good"], "no column holds ratings", "expected"),
        (["participant_id A A", "sub-01 3 4"], "'A'", "twice"),
        (["participant_id A", "sub-01 3 5"], "row 2", "3 columns where the header has 2"),
    ],
)
def test_bad_ratings_name_file_row_and_column(tmp_path: Path, rows: list[str], where: str, what: str) -> None:
    path = table(tmp_path, *rows)
    with pytest.raises(BadDataError) as caught:
        read_ratings(path, known=KNOWN)
    assert str(path) in str(caught.value)
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_comma_separated_ratings_say_that_tabs_are_needed(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="tabs"):
        read_ratings(table(tmp_path, "participant_id,A", "sub-01,3"), known=KNOWN)


def test_ratings_keep_missing_values_sessions_and_short_labels(tmp_path: Path) -> None:
    path = table(tmp_path, "participant_id session_id A B notes", "01 1 3 n/a good", "sub-2 ses-1 0 2.5 poor")
    ratings = read_ratings(path, known=KNOWN)
    assert ratings["participant_id"].tolist() == ["sub-01", "sub-02"]
    assert ratings["session_id"].tolist() == ["ses-1", "ses-1"]
    assert ratings["A"].tolist() == [3, 0]
    assert np.isnan(ratings["B"][0])
    assert "notes" not in ratings.columns


def test_unusable_cells_can_be_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path, "participant_id A", "sub-01 3", "sub-02 many", "sub-99 4", "sub-03 -2")
    ratings = read_ratings(path, known=KNOWN, drop_unusable=True)
    assert ratings["participant_id"].tolist() == ["sub-01", "sub-02", "sub-03"]
    assert ratings["A"].notna().tolist() == [True, False, False]
    for text in ("row 3, column A: 'many'", "row 4, column participant_id: sub-99", "row 5, column A: -2"):
        assert text in caplog.text


def test_missing_table_is_a_reason_not_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="--ratings"):
        read_ratings(tmp_path / "epvs.tsv", known=KNOWN)


def test_reference_rater_is_named_or_the_first_and_has_to_count_something(tmp_path: Path) -> None:
    ratings = pd.DataFrame({"p": ["x"], "s": [""], "A": [0.0], "B": [2.0], "potter": [1.0], "scanner": [3.0]})
    path = tmp_path / "epvs.tsv"
    assert rater_columns(ratings, path, rater="B", site="scanner") == ("B", "A")
    with pytest.raises(BadDataError, match="no rater's column C"):
        rater_columns(ratings, path, rater="C", site=None)
    with pytest.raises(BadDataError, match="column A: all 1 ratings are zero"):
        rater_columns(ratings, path, rater=None, site=None)


def ages(*values: object) -> tuple[pd.Series, pd.Series]:
    return pd.Series(values, dtype=object), pd.Series([f"sub-{i}" for i in range(len(values))])


def test_open_age_needs_the_option_and_missing_age_leaves_a_participant_out() -> None:
    path = Path("participants.tsv")
    with pytest.raises(BadDataError, match=r"row 3, column age: '89\+' is not a number; .*--age-cap"):
        parse_ages(*ages(70, "89+"), path, cap=None, strict=False)
    values, notes = parse_ages(*ages(70, "89+", None), path, cap=92, strict=False)
    assert values.tolist()[:2] == [70, 92]
    assert np.isnan(values[2])
    assert notes == ["participants.tsv, row 4, column age: sub-2 has none; left out"]
    with pytest.raises(BadDataError, match="row 4, column age"):
        parse_ages(*ages(70, "89+", None), path, cap=92, strict=True)


@pytest.mark.parametrize("age", ["old", "-3", "700"])
def test_ages_that_are_none_are_refused(age: str) -> None:
    with pytest.raises(BadDataError, match=r"row 2, column age"):
        parse_ages(*ages(age), Path("participants.tsv"), cap=None, strict=False)


def test_participants_are_those_of_the_table_and_the_folders(tmp_path: Path) -> None:
    (tmp_path / "sub-05").mkdir()
    path = table(tmp_path, "participant_id age", "01 70", "sub-02 n/a", name="participants.tsv")
    assert known_participants(tmp_path) == {"sub-01", "sub-02", "sub-05"}
    assert read_participants(path)["participant_id"].tolist() == ["sub-01", "sub-02"]
    table(tmp_path, "participant_id age", "01 70", "sub-01 71", name="participants.tsv")
    with pytest.raises(BadDataError, match="row 3, column participant_id: sub-01 is in row 2"):
        read_participants(path)


def test_ratings_that_were_written_to_the_output_folder_are_found_there(tmp_path: Path) -> None:
    bids, out = tmp_path / "bids", tmp_path / "out"
    for folder in (bids, out):
        (folder / "phenotype").mkdir(parents=True)
    study = Study(out, bids)
    assert study.ratings_path == bids / "phenotype" / "epvs.tsv"
    ours = table(out / "phenotype", "participant_id A1", "sub-01 3")
    assert study.ratings_path == Study(out).ratings_path == ours
    assert study.ratings["A1"].tolist() == [3]
    theirs = table(bids / "phenotype", "participant_id A1", "sub-01 4")
    assert study.ratings_path == theirs
