"""What a run will do, worked out beforehand: what a cached result depends on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.bids.scan import Scan
from epvs_bids.settings import Settings
from epvs_bids.workflows import plan as module
from epvs_bids.workflows.plan import ModelPlan, Plan, segmentation_evidence

Evidence = Callable[[], list[str]]


@pytest.fixture
def t1w(tmp_path: Path) -> Path:
    path = tmp_path / "bids/sub-01/anat/sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one")
    return path


def evidence(t1w: Path, choice: str) -> Evidence:
    bids = t1w.parents[2]
    settings = Settings(
        bids_dir=bids, output_dir=bids, level="participant", work_dir=bids, segmentation=choice
    )
    plan = Plan(settings, None, RoiParameters(), {})
    scan = Scan("01", None, t1w.with_name("sub-01_T2w.nii.gz"), t1w=t1w)
    return lambda: segmentation_evidence(plan, scan).files


def change(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(b"two")
    os.utime(path, (facts.st_atime, facts.st_mtime + 1))


def labels_at(t1w: Path, name: str) -> Path:
    path = t1w.parents[2] / "derivatives" / "program" / "sub-01" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"labels")
    return path


def test_a_changed_t1w_is_noticed_where_freesurfer_is_run(t1w: Path) -> None:
    seen = evidence(t1w, "freesurfer")
    before = seen()
    change(t1w)
    assert seen() != before


def test_a_changed_t1w_is_noticed_where_labels_lie_in_its_space(t1w: Path) -> None:
    labels = labels_at(t1w, "sub-01_T1w_synthseg.nii.gz")
    seen = evidence(t1w, "auto")
    before = seen()
    change(t1w)
    assert seen() != before
    before = seen()
    change(labels)
    assert seen() != before


@pytest.mark.parametrize("choice", ["samseg", "auto", "existing"])
def test_a_t1w_that_is_not_used_changes_nothing(
    choice: str, t1w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_run", lambda: False)
    labels_at(t1w, "seg.mgz")  # in the scan's own space
    seen = evidence(t1w, choice)
    before = seen()
    change(t1w)
    assert seen() == before


def test_a_dangling_t1w_is_left_for_its_use_to_tell(t1w: Path) -> None:
    t1w.unlink()
    assert evidence(t1w, "freesurfer")() == [str(t1w)]


@pytest.mark.parametrize(("n_scans", "threads"), [(1, 4), (3, 2), (8, 1), (20, 1)])
def test_a_network_has_more_threads_where_there_are_more_cores_than_scans(
    tmp_path: Path, n_scans: int, threads: int
) -> None:
    settings = Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path,
        level="participant",
        work_dir=tmp_path,
        model="none",
        nprocs=8,
        omp_nthreads=4,
        mni_registration=False,
    )
    scans = [Scan(f"{number:02}", None, tmp_path / "T2w.nii.gz") for number in range(n_scans)]
    assert module.make_plan(settings, scans).network_threads == threads


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_that_are_there_are_seen(t1w: Path, labelled: bool) -> None:
    if labelled:
        labels_at(t1w, "sub-01_T2w_synthseg.nii.gz")
    bids = t1w.parents[2]
    settings = Settings(bids_dir=bids, output_dir=bids, level="participant", work_dir=bids)
    scan = Scan("01", None, t1w.with_name("sub-01_T2w.nii.gz"), t1w=t1w)
    assert segmentation_evidence(Plan(settings, None, RoiParameters(), {}), scan).found is labelled


@pytest.mark.parametrize("trained_in", ["MNI152NLin2009cAsym", "MNI152NLin2009aSym", None])
def test_a_model_of_another_space_is_warned_of(
    trained_in: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("epvs_bids"), "propagate", True)
    model = ModelPlan(Path("models/ours"), "ours", "key", 1, trained_in)
    with caplog.at_level(logging.WARNING):
        module._warn_of_other_space(model, {"MNI152NLin2009aSym"})
    other = trained_in == "MNI152NLin2009cAsym"
    assert ("trained in the space of MNI152NLin2009cAsym" in caplog.text) == other
    assert ("--template MNI152NLin2009cAsym registers" in caplog.text) == other
