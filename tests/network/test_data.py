"""Training sets: gathered once, refused when nothing can be learned from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.errors import BadDataError
from epvs_bids.network.data import (
    RatedRegion,
    check_training_set,
    common_preprocessing,
    store_regions,
)


def write_region(folder: Path, name: str, data: np.ndarray, **preprocessing: object) -> Path:
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([0.5, 0.5, 0.5, 1])), path)
    (folder / f"{name}.json").write_text(json.dumps({"Preprocessing": {"sigma": 2.0, **preprocessing}}))
    return path


def rated(count: int, score: float | None = None) -> list[RatedRegion]:
    return [
        RatedRegion(
            participant=f"sub-{index}",
            name=f"sub-{index}_T2w",
            path=Path(f"{index}.nii.gz"),
            score=float(index) if score is None else score,
        )
        for index in range(count)
    ]


def test_store_holds_what_the_files_hold_and_is_made_once(tmp_path: Path) -> None:
    regions = np.random.default_rng(0).random((3, 20, 18, 16)).astype(np.float32)
    paths = [write_region(tmp_path, f"r{index}", region) for index, region in enumerate(regions)]
    store = store_regions(paths, tmp_path / "regions.f16")
    assert store.shape == (20, 18, 16)
    np.testing.assert_allclose(store.region(1)[0, 0].float().numpy(), regions[1], atol=5e-4)
    made = (tmp_path / "regions.f16").stat().st_mtime_ns
    store_regions(paths, tmp_path / "regions.f16")
    assert (tmp_path / "regions.f16").stat().st_mtime_ns == made
    write_region(tmp_path, "r1", 1 - regions[1])
    store = store_regions(paths, tmp_path / "regions.f16")
    np.testing.assert_allclose(store.region(1)[0, 0].float().numpy(), 1 - regions[1], atol=5e-4)


def test_regions_of_different_shape_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [(20, 18, 16), (20, 18, 17)]
    paths = [write_region(tmp_path, f"r{index}", rng.random(shape)) for index, shape in enumerate(shapes)]
    with pytest.raises(BadDataError, match=r"r1\.nii\.gz has shape \(20, 18, 17\)"):
        store_regions(paths, tmp_path / "regions.f16")
    assert not (tmp_path / "regions.f16").exists()


def test_regions_made_differently_are_named(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((20, 18, 16))
    paths = [write_region(tmp_path, "a", data), write_region(tmp_path, "b", data, sigma=3.0)]
    pairs = [replace(one, path=path) for one, path in zip(rated(2), paths, strict=True)]
    assert common_preprocessing(pairs[:1]) == ({"sigma": 2.0}, None)
    with pytest.raises(BadDataError, match=r"b\.nii\.gz was made with sigma = 3\.0"):
        common_preprocessing(pairs)
    for name, space in (("a", "MNI152NLin2009cAsym"), ("b", "MNI152NLin2009aSym")):
        content = {"Preprocessing": {"sigma": 2.0}, "Template": {"name": space}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert common_preprocessing(pairs[:1]) == ({"sigma": 2.0}, "MNI152NLin2009cAsym")
    with pytest.raises(BadDataError, match=r"b\.nii\.gz was made with template = 'MNI152NLin2009aSym'"):
        common_preprocessing(pairs)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (rated(9), "There are 9 scans"),
        (rated(12, score=4), "Every scan has the visual score 4"),
        (rated(12, score=-1.0), "score -1.0 is not"),
        (rated(12, score=float("nan")), "score nan is not"),
        ([replace(one, participant="sub-1") for one in rated(12)], "fewer than three participants"),
    ],
)
def test_sets_that_teach_nothing_are_refused(regions: list[RatedRegion], message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        check_training_set(regions)


def test_a_good_set_passes() -> None:
    check_training_set(rated(10))
