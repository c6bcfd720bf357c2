"""Tables that are incomplete, odd or wrong, at the group level."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
def test_some_ratings(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, {"1": 3, "2": 5, "03": 7, "sub-04": "n/a", "sub-05": 11})
    ends(bids, out, "group", "--analysis", "agreement")


@pytest.mark.fault("Text in a rater's column", says="row 3, column rater1", code=65, keeps=REST)
def test_text_in_ratings(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    rate(bids, SOUND | {"sub-02": "many"})
    ends(bids, out, "group", "--analysis", "agreement")


@pytest.mark.fault("A participant with two rows of ratings", says="is in row 2 already", code=65, keeps=REST)
def test_doubled_rows(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    path = bids / "phenotype/epvs.tsv"
    path.write_text("participant_id\trater1\nsub-01\t3\nsub-01\t4\n")
    ends(bids, out, "group", "--analysis", "agreement")


@pytest.mark.fault(
    "An analysis asked for that the data do not allow",
    says="phenotype",
    code=66,
    keeps="what was there before",
)
def test_no_ratings(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    ends(bids, out, "group", "--analysis", "agreement")


@pytest.mark.fault(
    "A table with rows of another length", says="columns where the header has", code=65, keeps=REST
)
def test_ragged_table(study: tuple[Path, Path], ends: Ends) -> None:
    bids, out = study
    (bids / "phenotype/epvs.tsv").write_text("participant_id\trater1\nsub-01\t3\nsub-02\n")
    ends(bids, out, "group", "--analysis", "agreement")


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
