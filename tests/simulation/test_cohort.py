import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from epvs_bids.errors import TryAgainError
from epvs_bids.simulation import cohort as cohorts
from epvs_bids.simulation import head as heads
from epvs_bids.simulation.cli import build_parser, main
from epvs_bids.simulation.cohort import CohortSettings, draw_counts, draw_participants, draw_subject


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "bids"
    code = main(
        [
            str(out),
            *[
                "--participants",
                "2",
                "--sessions",
                "2",
                "--rescanned",
                "1",
                "--voxel-size",
                "1.5",
                "1.5",
                "3",
                "--nprocs",
                "1",
            ],
        ]
    )
    assert code == 0
    return out


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t")


def test_tables(cohort: Path) -> None:
    people = read(cohort / "participants.tsv")
    assert list(people) == ["participant_id", "age", "sex"]
    ratings = read(cohort / "phenotype" / "epvs.tsv")
    assert list(ratings) == ["participant_id", "session_id", "A1", "A2", "B1", "B2"]
    assert ratings["participant_id"].is_unique
    counts = read(cohort / "derivatives" / "simulation" / "counts.tsv")
    assert len(counts) == 3
    assert (counts["slice_count"] <= counts["total_count"]).all()


def test_scans_markers_and_labels_agree(cohort: Path) -> None:
    truth = cohort / "derivatives" / "simulation"
    for row in read(truth / "counts.tsv").itertuples():
        name = f"{row.participant_id}_{row.session_id}"
        folder = cohort / row.participant_id / row.session_id / "anat"
        scan = nib.load(folder / f"{name}_PDw.nii.gz")
        place = truth / row.participant_id / row.session_id / "anat"
        labels = nib.load(place / f"{name}_desc-epvs_dseg.nii.gz")
        np.testing.assert_allclose(scan.affine, labels.affine)
        markers = read(place / f"{name}_desc-epvs_markers.tsv")
        assert len(markers) == row.total_count
        assert markers["in_slice"].sum() == row.slice_count
        aseg = nib.load(cohort / "derivatives" / "freesurfer" / name / "mri" / "aseg.mgz")
        putamen = (aseg.get_fdata() == 12).sum() * abs(np.linalg.det(aseg.affine[:3, :3]))
        assert 3000 < putamen < 7000  # mm³
        to_aseg = np.linalg.inv(aseg.affine)
        for point in markers[["x", "y", "z"]].to_numpy():
            x, y, z = np.rint(to_aseg[:3, :3] @ point + to_aseg[:3, 3]).astype(int)
            near = np.asarray(aseg.dataobj)[x - 3 : x + 4, y - 3 : y + 4, z - 3 : z + 4]
            assert np.isin(near, (11, 12, 13, 26, 50, 51, 52, 58)).any()


def test_a_rescan_repeats_the_protocol(cohort: Path) -> None:
    def timing(name: str, session: str) -> dict[str, float]:
        path = cohort / name / session / "anat" / f"{name}_{session}_PDw.json"
        content: dict[str, float] = json.loads(path.read_text())
        return content

    assert timing("sub-01", "ses-1") == timing("sub-01", "ses-2")
    assert timing("sub-01", "ses-1") != timing("sub-02", "ses-1")


def test_brain_is_brighter_than_the_air(cohort: Path) -> None:
    name = read(cohort / "participants.tsv")["participant_id"][0]
    data = nib.load(cohort / name / "ses-1" / "anat" / f"{name}_ses-1_PDw.nii.gz").get_fdata()
    middle = tuple(slice(size // 2 - 5, size // 2 + 5) for size in data.shape)
    assert data[middle].mean() > 5 * data[:4, :4, :4].mean()


def test_counts_grow_by_the_rate_ratio() -> None:
    settings = CohortSettings(rate_ratio=1.3, zeros=0.0, mean_count=6.0)
    rng = np.random.default_rng(0)
    young, old = (draw_counts(rng, np.full(20000, age), settings).mean() for age in (65, 85))
    assert young == pytest.approx(6.0, rel=0.05)
    assert old / young == pytest.approx(1.3**2, rel=0.06)


def test_counts_are_not_cut_short() -> None:
    settings = CohortSettings(mean_count=40.0, zeros=0.0, dispersion=50.0)
    counts = draw_counts(np.random.default_rng(0), np.full(20000, 85.0), settings)
    assert counts.mean() == pytest.approx(40 * 1.3**2, rel=0.03)


def test_more_epvs_than_can_be_told_apart_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "out"), "--participants", "300", "--mean-count", "90"]) == 64
    assert "Choose a lower --mean-count (now 90)" in capsys.readouterr().err


def test_structural_zeros() -> None:
    counts = draw_counts(
        np.random.default_rng(0), np.full(20000, 70.0), CohortSettings(zeros=0.3, dispersion=50)
    )
    assert (counts == 0).mean() == pytest.approx(0.3, abs=0.02)


def test_people_are_reproducible() -> None:
    settings = CohortSettings(participants=30, seed=4)
    assert draw_participants(settings).equals(draw_participants(settings))
    assert draw_participants(settings)["age"].between(60, 96).all()


def test_a_filled_folder_is_refused(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(cohort), "--participants", "1"]) == 64
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--participants", "0"],
        ["--voxel-size", "9", "1", "1"],
        ["--sessions", "3"],
        ["--seed", "-1"],
        ["--mean-count", "-1"],
        ["--mean-count", "nan"],
        ["--rate-ratio", "0"],
    ],
)
def test_bad_arguments_end_with_64(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([str(tmp_path / "out"), *arguments])
    assert raised.value.code == 64


def test_as_many_processes_as_cores_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epvs_bids.simulation.cli.available_cores", lambda: 3)
    assert build_parser().parse_args(["out"]).nprocs == 3


def test_progress_is_told_by_the_process_that_the_user_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"participant_id": "sub-01", "age": 70.0, "sex": "F", "total_count": 4, "slice_count": 2}
    monkeypatch.setattr(cohorts, "_simulate_participant", lambda job: [row])
    with caplog.at_level(logging.INFO):
        cohorts.simulate_cohort(tmp_path, CohortSettings(participants=1))
    assert "sub-01: 4 EPVS, 1 session(s)" in caplog.messages


def _killed(job: object) -> None:
    os._exit(9)


def test_a_killed_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "_simulate_participant", _killed)
    with pytest.raises(TryAgainError, match="fewer \\(--nprocs\\)"):
        cohorts.simulate_cohort(tmp_path, CohortSettings(participants=2), processes=2)


def test_iron_of_the_putamen_rises_with_age_and_shows() -> None:
    def subject(age: float) -> heads.Subject:
        return draw_subject(np.random.default_rng(3), CohortSettings(), age=age, count=0)

    old = subject(80)
    assert old.iron > subject(30).iron > 0

    where = heads.geometry(np.random.default_rng(1), (1.0, 1.0, 1.0))
    putamen = np.isin(heads.segmentation(old, where), (12, 51))
    y = np.argwhere(putamen)[:, 1]
    back, front = y < np.percentile(y, 25), y > np.percentile(y, 75)

    def front_over_back(one: heads.Subject) -> float:
        look = np.random.default_rng(2)
        scan, _ = heads.acquire(np.random.default_rng(2), one, "T2w", where, look=look, noise=0.0, bias=0.0)
        return float(np.median(scan[putamen][front]) / np.median(scan[putamen][back]))

    assert front_over_back(replace(old, iron=0.4)) > 1.2 * front_over_back(replace(old, iron=0.0))
