"""What the study's page is made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from epvs_bids.reports.group import OUTLIER, group_view, outlier_scores

from .conftest import write_group


def test_outliers_by_hand() -> None:
    scores = np.array([1.0, 2, 3, 4, 5, 100, np.nan])
    roots = np.sqrt(scores + 0.375)
    median = np.nanmedian(roots)
    expected = 0.6745 * (roots - median) / np.nanmedian(np.abs(roots - median))
    np.testing.assert_allclose(outlier_scores(scores), expected)
    assert [index for index, z in enumerate(outlier_scores(scores)) if abs(z) > OUTLIER] == [5]


def test_outliers_among_mostly_equal_scores() -> None:
    z = outlier_scores(np.array([0.0] * 20 + [8.0]))
    assert abs(z[0]) < OUTLIER < z[-1]
    assert not outlier_scores(np.zeros(5)).any()
    assert np.isnan(outlier_scores(np.full(3, np.nan))).all()


def test_poisson_counts_rarely_are_outliers() -> None:
    z = outlier_scores(np.random.default_rng(0).poisson(8, 20_000).astype(float))
    assert (np.abs(z) > OUTLIER).mean() < 0.005


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    write_group(tmp_path, 50, label="sub-{:02d}")
    return tmp_path


def test_those_to_look_at_come_first(output_dir: Path) -> None:
    view = group_view(output_dir)
    assert [score["participant"] for score in view["scores"][:4]] == ["sub-05", "sub-04", "sub-03", "sub-00"]
    assert view["facts"]["participants"] == 50
    assert view["facts"]["failed"] == 1
    assert view["facts"]["outliers"] == 2
    assert [row["participant_id"] for row in view["missing"]] == ["sub-9999"]


def test_pages_are_linked_where_they_are(output_dir: Path) -> None:
    (output_dir / "sub-07.html").touch()
    linked = [score["participant"] for score in group_view(output_dir)["scores"] if score["page"]]
    assert linked == ["sub-07"]


def test_analyses_bring_figures_tables_and_numbers(output_dir: Path) -> None:
    view = group_view(output_dir)
    (agreement,) = view["analyses"]
    assert agreement["numbers"] == [("icc · value", "0.7412")]
    assert [figure["name"] for figure in agreement["figures"]] == ["scatter"]
    (table,) = agreement["tables"]
    assert (table["href"], table["size"]) == ("group_agreement.tsv", 2)
    assert table["rows"] == [["ICC(2,1)", "0.7412", "0.69"], ["Pearson", "0.75", "0.7"]]
    assert table["numeric"] == [False, True, True]
    assert view["left_out"] == [
        {"title": "Age", "status": "skipped", "reason": "no <b>ages</b> in participants.tsv"}
    ]


@pytest.mark.parametrize(
    "name", ["../secret.tsv", "/etc/passwd", "link.tsv", "group_results.json", "none.tsv"]
)
def test_files_outside_of_the_outputs_are_not_shown(output_dir: Path, name: str) -> None:
    (output_dir.parent / "secret.tsv").write_text("a\n1\n")
    (output_dir / "link.tsv").symlink_to(output_dir.parent / "secret.tsv")
    entry = {"name": "agreement", "status": "done", "tables": [name], "figures": [name]}
    (output_dir / "group_results.json").write_text(json.dumps({"analyses": [entry, "nonsense", {}]}))
    (analysis,) = group_view(output_dir)["analyses"]
    assert analysis["tables"] == analysis["figures"] == []


def test_an_empty_folder_gives_an_empty_view(tmp_path: Path) -> None:
    view = group_view(tmp_path)
    assert view["scores"] == view["analyses"] == view["missing"] == []
    assert view["facts"]["quartiles"] is None
