"""Baselines use the split that the model in use was trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.matching import rated_scans
from epvs_bids.analyses.model_split import choose_split, find_split, seen_in_training
from epvs_bids.analyses.options import GroupOptions
from epvs_bids.errors import BadDataError

from .conftest import write_split

MakeStudy = Callable[..., Study]


def rated(model: str = "ours", n: int = 40) -> tuple[pd.DataFrame, np.ndarray]:
    labels = [f"sub-{i:02d}" for i in range(n)]
    return pd.DataFrame({"participant_id": labels, "model": model}), np.arange(n, dtype=float)


PARTS = {f"sub-{i:02d}": "train" if i < 20 else "validation" if i < 26 else "test" for i in range(33)}


def test_parts_are_those_of_the_model_and_new_people_are_for_testing(tmp_path: Path) -> None:
    table, counts = rated()
    path = write_split(tmp_path / "models" / "ours", PARTS)
    split, note = choose_split(Study(tmp_path), table, counts)
    assert split.tolist() == ["train"] * 20 + ["validation"] * 6 + ["test"] * 14
    assert str(path) in note


def test_model_of_the_option_comes_first_and_ensembles_share_their_test_scans(tmp_path: Path) -> None:
    write_split(tmp_path / "models" / "ours", PARTS)
    given = write_split(tmp_path / "elsewhere" / "model-1", PARTS)
    study = Study(tmp_path, options=GroupOptions(model=tmp_path / "elsewhere"))
    assert find_split(study, ["ours"]) == given
    assert find_split(Study(tmp_path), ["ours", "other"]) is None
    assert find_split(Study(tmp_path), ["default"]) is None


@pytest.mark.parametrize(
    ("parts", "reason"),
    [({}, "split anew"), (dict.fromkeys(PARTS, "train"), "may have been trained on test scans")],
)
def test_without_a_usable_split_a_new_one_is_made_and_said(
    tmp_path: Path, parts: dict[str, str], reason: str
) -> None:
    table, counts = rated()
    if parts:
        write_split(tmp_path / "models" / "ours", parts)
    split, note = choose_split(Study(tmp_path), table, counts)
    assert min((split == part).sum() for part in ("train", "validation", "test")) >= 5
    assert reason in note


def test_damaged_split_is_named(tmp_path: Path) -> None:
    table, counts = rated()
    write_split(tmp_path / "models" / "ours", {"sub-01": "train", "sub-02": "tset"})
    with pytest.raises(BadDataError, match="row 3, column split: 'tset' is none of train"):
        choose_split(Study(tmp_path), table, counts)


def test_training_and_validation_scans_are_told_from_others(tmp_path: Path) -> None:
    table, _ = rated()
    path = write_split(tmp_path / "models" / "ours", PARTS)
    seen, (note,) = seen_in_training(Study(tmp_path), table)
    assert np.flatnonzero(seen).tolist() == list(range(26))
    assert note.startswith(f"26 of 40 rated scans were in the network's training or validation ({path})")
    others = seen_in_training(Study(tmp_path), table[30:])
    assert (others[0].tolist(), others[1]) == ([False] * 10, ())


def test_what_is_not_known_about_a_model_is_said(tmp_path: Path) -> None:
    table, _ = rated("theirs")
    seen, (note,) = seen_in_training(Study(tmp_path), table)
    assert not seen.any()
    assert note.startswith("what theirs learned from is not known (give its folder with --model)")
    calibrated = tmp_path / "models" / "theirs"
    calibrated.mkdir(parents=True)
    for study, model in ((Study(tmp_path), "theirs"), (Study(tmp_path), "default")):
        assert seen_in_training(study, table.assign(model=model))[1] == ()


@pytest.mark.parametrize("same", [True, False])
def test_people_of_another_study_may_have_the_same_labels(
    make_study: MakeStudy, tmp_path: Path, same: bool
) -> None:
    """A model from elsewhere: whether the visual scores that it learned from are this study's."""
    study = make_study(40, model=tmp_path / "theirs")
    table = rated_scans(study).table
    folder = tmp_path / "theirs"
    folder.mkdir()
    learned = table[["participant_id", "scan"]].assign(
        score=table["A"] if same else table["A"].to_numpy()[::-1] + 1, split="train"
    )
    learned.to_csv(folder / "split.tsv", sep="\t", index=False)
    seen, (note,) = seen_in_training(study, table)
    assert seen.all() == same
    assert seen.any() == same
    assert ("with other visual scores" in note) != same
    _, origin = choose_split(study, table, table["A"].to_numpy(dtype=float))
    assert ("no split is known" in origin) != same
