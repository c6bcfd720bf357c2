"""The harness of the benchmarks works; nothing is said about speed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import harness, report
from benchmarks.harness import Contender, Line, Row, UnmeasuredError, alternate, measured, ratio
from benchmarks.networks import operations
from epvs_bids.network.architecture import Architecture

NOTE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(harness, "FOLDER", tmp_path)
    return tmp_path


def noting(name: str, path: Path) -> Contender:
    words = [sys.executable, "-c", NOTE, str(path), name]
    return Contender(name, "benchmarks.app:command", {"words": words})


def test_contenders_take_turns_and_are_measured(folder: Path) -> None:
    path = folder / "turns"
    found = alternate([noting("A", path), noting("B", path)], runs=2, warm_up=1)
    assert path.read_text() == "ABABAB"
    assert [len(found[name].wall) for name in "AB"] == [2, 2]
    assert found["A"].values == [0, 0]
    assert 0 < found["A"].seconds < 60
    assert found["A"].peak > 1e6


def test_a_contender_that_fails_stops_no_other(folder: Path) -> None:
    found = alternate([Contender("broken", "benchmarks.app:nothing"), noting("A", folder / "turns")], runs=1)
    assert "exit code 1" in found["broken"].failure
    assert found["broken"].wall == []
    assert len(found["A"].wall) == 1


def test_ratio_compares_neighbours_in_time() -> None:
    """A machine that slows down tenfold between rounds changes nothing."""
    found = ratio([1.0, 10.0, 2.0], [2.0, 20.0, 4.0])
    assert (found.value, found.least, found.largest) == (0.5, 0.5, 0.5)


def test_results_are_kept_and_a_failure_is_not() -> None:
    row = Row([Line("a", "b", "1.0", "≤ 2", met=True)], [("c", "3 s")], ["note"])

    def fail() -> Row:
        raise UnmeasuredError("no disk")

    assert "no disk" in measured("x", fail, fresh=False).notes[0]
    assert "not measured" in measured("x", None, fresh=False).notes[0]
    assert measured("x", lambda: row, fresh=False) == row
    assert measured("x", fail, fresh=False) == row
    assert "no disk" in measured("x", fail, fresh=True).notes[0]


def test_report_counts_the_targets_that_are_met(tmp_path: Path) -> None:
    lines = [Line("fast", "x", "0.9", "≤ 1", met=True), Line("slow", "x", "1.1", "≤ 1", met=False)]
    report.write(tmp_path / "RESULTS.md", {"one": Row([*lines, Line("known", "x", "2")], [("fast", "3 s")])})
    text = (tmp_path / "RESULTS.md").read_text()
    assert "1 of 2 targets are met" in text
    assert "| slow | x | 1.1 | ≤ 1 | **no** |" in text
    assert text.index("## Ratios") < text.index("## Absolute numbers")


def test_operations_of_the_papers_network() -> None:
    """183 GMAC, as the layers of the paper's Fig. 4 add up to."""
    assert operations(Architecture()) == pytest.approx(2 * 183.4e9, rel=1e-3)
