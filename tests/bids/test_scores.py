"""What the participant level left of each scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from epvs_bids.bids.scores import failed_scans, find_score_tables, read_failures, read_score_table
from epvs_bids.errors import BadDataError
from epvs_bids.files import write_json


def write_table(folder: Path, text: str) -> Path:
    path = folder / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-2_desc-epvs_scores.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_rows_begin_with_the_labels_of_their_scan(tmp_path: Path) -> None:
    path = write_table(tmp_path, "region\tscore\tqc_reason\nBG\t3.5\tn/a\nCSO\tn/a\tnot scored\n")
    assert find_score_tables(tmp_path) == [path]
    labels = {"participant_id": "sub-01", "session_id": "ses-a", "scan": "sub-01_ses-a_run-2"}
    assert read_score_table(path) == [
        {**labels, "region": "BG", "score": "3.5", "qc_reason": "n/a"},
        {**labels, "region": "CSO", "score": "n/a", "qc_reason": "not scored"},
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "column region: it is missing"),
        ("region\tmodel\nBG\tdefault\n", "column score: it is missing"),
        ("region\tscore\nBG\t3.5\nBG\n", "row 3: 1 cells where the header has 2"),
        ("region\tscore\nBG\tmany\n", "row 2, column score: 'many' is not a number"),
        ("region\tscore\nBG\tinf\n", "row 2, column score: 'inf' is not a number"),
    ],
)
def test_damaged_table_is_named_with_row_and_remedy(tmp_path: Path, text: str, problem: str) -> None:
    path = write_table(tmp_path, text)
    with pytest.raises(BadDataError) as caught:
        read_score_table(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)
    assert str(caught.value).endswith("run the participant level again for it")


def test_what_became_of_scans(tmp_path: Path) -> None:
    scans = tmp_path / "logs" / "scans"
    for label, result, reason in (
        ("01", "failed", "truncated"),
        ("02", "missing", None),
        ("03", "scored", None),
    ):
        scan = {
            "participant_id": f"sub-{label}",
            "scan": f"sub-{label}_T2w",
            "result": result,
            "reason": reason,
        }
        write_json(scans / f"sub-{label}_T2w.json", scan)
    (scans / "sub-04_T2w.json").write_text("{")
    assert read_failures(tmp_path) == [
        ("sub-01", "", "truncated"),
        ("sub-02", "", "no reason is known"),
    ]
    assert failed_scans(tmp_path) == {"sub-01": "truncated"}
