"""A second run with other options takes back what the first one made and no longer holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.cli import main
from epvs_bids.files import read_json


@pytest.fixture(scope="module")
def bids(scans_in: Callable[..., Path]) -> Path:
    """A participant with scans of two contrasts, and an acquisition of another name."""
    return scans_in("sub-01_PDw", "sub-01_T2w", "sub-01_acq-b_PDw")


@pytest.fixture(scope="module")
def words(bids: Path, model: Path) -> tuple[str, ...]:
    home = bids.parent
    options = ("--model", str(model), "--nprocs", "1", "--skip-bids-validation", "-w", str(home / "work"))
    return (str(bids), str(home / "out"), "participant", *options)


def kinds(folder: Path) -> set[str]:
    """Names of a scan's files behind its label."""
    return {path.name.removeprefix("sub-01_").partition(".")[0] for path in folder.glob("sub-01_[!a]*")}


def test_another_contrast_and_no_model(words: tuple[str, ...], bids: Path) -> None:
    folder = bids.parent / "out/sub-01/anat"
    plain = bids.parent / "filters.json"
    plain.write_text('{"pdw": {"acquisition": "b"}}')
    assert main([*words, "--bids-filter-file", str(plain)]) == 0
    other = sorted(folder.iterdir())
    assert main(words) == 0
    first = kinds(folder)
    mine = folder / "sub-01_notes.txt"
    mine.touch()

    assert main([*words, "--contrast", "T2w", "--saliency", "none"]) == 0
    images = {name.replace("PDw", "T2w") for name in first if "saliency" not in name}
    assert kinds(folder) == {*images, "notes"}
    assert read_json(bids.parent / "out/logs/scans/sub-01_T2w.json")["result"] == "scored"

    assert main([*words, "--contrast", "T2w", "--model", "none", "--no-mni-registration"]) == 0
    assert kinds(folder) == {name for name in (*images, "notes") if "scores" not in name}
    status = read_json(bids.parent / "out/logs/scans/sub-01_T2w.json")
    assert (status["result"], status["score"]) == ("made", None)
    assert "roi" in " ".join(kinds(folder))
    assert set(other) <= set(folder.iterdir()), "the other acquisition lost files"
