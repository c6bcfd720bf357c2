"""Tables that are incomplete, odd or wrong, at the group level."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.cli import main

Ends = Callable[..., str]
REST = "the other analyses' tables, and the page"


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    """A data set with tables but without images, and the scores of six participants."""
    bids, out = tmp_path / "bids", tmp_path / "out"
    (bids / "phenotype").mkdir(parents=True)
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    ages = ["50", "60", "70", "80", "89+", "n/a"]
    rows = "".join(f"sub-{number:02}\t{age}\n" for number, age in enumerate(ages, start=1))
    (bids / "participants.tsv").write_text(f"participant_id\tage\n{rows}")
    for number in range(1, 7):
        folder = out / f"sub-{number:02}/anat"
        folder.mkdir(parents=True)
        row = f"BG\t{number * 2.5}\t0.5\t1\tepvs\tSAMSEG\ttrue\tn/a"
        head = "region\tscore\tscore_sd\tpotter_class\tmodel\tsegmentation\tqc_pass\tqc_reason"
        (folder / f"sub-{number:02}_desc-epvs_scores.tsv").write_text(f"{head}\n{row}\n")
    return bids, out


def rate(bids: Path, counts: dict[str, object]) -> None:
    rows = "".join(f"{label}\t{count}\n" for label, count in counts.items())
    (bids / "phenotype/epvs.tsv").write_text(f"participant_id\trater1\n{rows}")


@pytest.fixture
def agreement_of(study: tuple[Path, Path], ends: Ends) -> Callable[[str], str]:
    """Compare scores with ratings of these rows; the run has to end as the mark says."""

    def run(rows: str) -> str:
        bids, out = study
        (bids / "phenotype/epvs.tsv").write_text(f"participant_id\trater1\n{rows}")
        return ends(bids, out, "group", "--analysis", "agreement")

    return run


SOUND = {f"sub-{number:02}": number * 2 + number % 2 for number in range(1, 7)}


@pytest.mark.fault(
    "The group level without the raw images, one rater, ages `89+` and `n/a`",
    says="",
    code=0,
    keeps="everything that the data allow; what is left out is named with the reason",
)
def test_group_without_images(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, SOUND)
    ends(bids, out, "group", "--analysis", "summary", "agreement")
    table = (out / "group_scores.tsv").read_text().splitlines()
    assert len(table) == 7


@pytest.mark.fault("Ratings that are all zero", says="all 6 ratings are zero", code=65, keeps=REST)
def test_all_zero_counts(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, dict.fromkeys(SOUND, 0))
    ends(bids, out, "group", "--analysis", "summary", "agreement")
    results = json.loads((out / "group_results.json").read_text())
    assert {one["name"]: one["status"] for one in results["analyses"]} == {
        "summary": "done",
        "agreement": "failed",
    }
    assert (out / "group.html").is_file()


@pytest.mark.fault(
    "Ratings of only some participants, `1` written for `01`",
    says="",
    code=0,
    keeps="the pairs that are there",
)
def test_some_ratings(agreement_of: Ends) -> None:
    agreement_of("1\t3\n2\t5\n03\t7\nsub-04\tn/a\nsub-05\t11\n")


@pytest.mark.fault(
    "Participants of whom there is no scan or no score, or no row in `participants.tsv`",
    says="",
    code=0,
    keeps="the others' results; `group_summary_missing.tsv` says who is missing and why",
)
def test_missing_participants(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, SOUND | {"sub-07": 3})
    path = bids / "participants.tsv"
    path.write_text(path.read_text().replace("sub-01\t50\n", "") + "sub-07\t61\nsub-08\t62\n")
    for label in ("sub-01", "sub-07"):
        (bids / label).mkdir()
    ends(bids, out, "group", "--analysis", "summary", "agreement")
    rows = (out / "group_summary_missing.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[::2] for row in rows] == [
        ["sub-07", "not scored yet"],
        ["sub-08", "listed in participants.tsv, but there is no folder"],
    ]
    assert len((out / "group_scores.tsv").read_text().splitlines()) == 7


@pytest.mark.fault("Text in a rater's column", says="row 3, column rater1", code=65, keeps=REST)
def test_text_in_ratings(agreement_of: Ends) -> None:
    agreement_of("sub-01\t3\nsub-02\tmany\nsub-03\t4\n")


@pytest.mark.fault("A participant with two rows of ratings", says="is in row 2 already", code=65, keeps=REST)
def test_doubled_rows(agreement_of: Ends) -> None:
    agreement_of("sub-01\t3\nsub-01\t4\n")


@pytest.mark.fault(
    "An analysis asked for that the data do not allow",
    says="phenotype",
    code=66,
    keeps="what was there before",
)
def test_no_ratings(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    assert main([str(bids), str(out), "group", "--analysis", "summary"]) == 0
    ends(bids, out, "group", "--analysis", "agreement")
    results = json.loads((out / "group_results.json").read_text())["analyses"]
    assert {one["name"]: one["status"] for one in results} == {"summary": "done", "agreement": "skipped"}
    assert "scans of 6 participants" in (out / "group.html").read_text()


@pytest.mark.fault(
    "A table with rows of another length", says="columns where the header has", code=65, keeps=REST
)
def test_ragged_table(agreement_of: Ends) -> None:
    agreement_of("sub-01\t3\nsub-02\n")


@pytest.mark.fault(
    "Tables as Windows programs write them: byte order mark, CRLF", says="", code=0, keeps="everything"
)
def test_byte_order_mark(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, SOUND)
    for path in (bids / "participants.tsv", bids / "phenotype/epvs.tsv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    ends(bids, out, "group", "--analysis", "summary", "agreement")
    assert "sub-06\t" in (out / "group_scores.tsv").read_text()


@pytest.mark.fault("Tables saved as `Unicode text` (UTF-16)", says="Save it as UTF-8", code=65, keeps=REST)
def test_utf16(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, SOUND)
    path = bids / "phenotype/epvs.tsv"
    path.write_text(path.read_text(), encoding="utf-16")
    ends(bids, out, "group", "--analysis", "agreement")


@pytest.mark.fault("Age `89+`, and no word of what it counts as", says="--age-cap YEARS", code=65, keeps=REST)
def test_open_age(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    shown = ends(bids, out, "group", "--analysis", "age")
    assert "participants.tsv, row 6, column age" in shown
