"""Occlusion, baselines and calibration from files as the participant level leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from epvs_bids.analyses import baselines, calibrate, occlusion
from epvs_bids.analyses.base import Study
from epvs_bids.analyses.calibrate import combine
from epvs_bids.analyses.images import read_region
from epvs_bids.analyses.options import GroupOptions, TrainingSettings
from epvs_bids.anatomy.images import save_volume
from epvs_bids.anatomy.registration import save_itk
from epvs_bids.errors import BadDataError, CannotCreateError, CannotRun, UsageError
from epvs_bids.files import write_json
from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.calibration import apply_calibration
from epvs_bids.network.checkpoint import ModelDescription, load_models, save_ensemble, save_model
from epvs_bids.network.inference import score
from epvs_bids.statistics.calibration import Curve, Line

from .conftest import write_scores, write_split

MakeStudy = Callable[..., Study]
OURS = TrainingSettings(model_name="ours")
SHAPE = (32, 28, 20)
AFFINE = np.diag([0.5, 0.5, 0.5, 1.0])
AFFINE[:3, 3] = (-8.0, -7.0, -10.0)


def write_images(study: Study, label: str, n: int, *, seed: int = 0) -> np.ndarray:
    """Write the images of a region with `n` bright tubes; return their centres as voxels."""
    rng = np.random.default_rng(seed)
    scan = (ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) * 5 + 100).astype(np.float32)
    sites = np.array([(x, y, 10) for x in range(5, 29, 6) for y in range(5, 25, 6)])
    centres = sites[rng.permutation(len(sites))[:n]]
    for x, y, z in centres:
        scan[x - 1 : x + 2, y - 1 : y + 2, z - 4 : z + 5] += 80
    mask = np.full(SHAPE, 1, dtype=np.float32)
    mask[0] = mask[-1] = 0.4
    stem = study.output_dir / label / "anat" / f"{label}_space-MNI152NLin2009cAsym_res-05"
    product = scan * mask
    for name, data in {
        "desc-preproc_T2w": scan,
        "label-BG_desc-smooth_probseg": mask,
        "label-BG_desc-roi_T2w": product / product.max(),
    }.items():
        save_volume(Path(f"{stem}_{name}.nii.gz"), data.astype(np.float32), AFFINE)
    return centres


def small_model(folder: Path, *, slope: float = 1.0) -> Path:
    """Save an untrained network for regions of `SHAPE`."""
    architecture = Architecture(features=4, blocks=1, convolutions=1, dense=())
    network = build_network(architecture, SHAPE)
    description = ModelDescription(
        architecture=architecture,
        input_shape=SHAPE,
        preprocessing={},
        calibration={"slope": slope, "intercept": 1.0},
    )
    save_model(folder, network, description)
    return folder


def test_block_has_the_papers_size_and_the_mean_of_the_tissue() -> None:
    region = np.ones((20, 20, 20), dtype=np.float32)
    region[10, 10, 10] = 5
    mask = np.full((20, 20, 20), 0.8, dtype=np.float32)
    covered = occlusion.cover(region, mask, np.array([[10.0, 10, 10]]), level=0.25)
    changed = covered != region
    assert np.ptp(np.argwhere(changed), axis=0).tolist() == [2, 2, 9]  # 1.5 × 1.5 × 5 mm in voxels of 0.5 mm
    assert covered[10, 10, 10] == pytest.approx(0.25 * 0.8)
    assert occlusion.mean_level(np.full_like(mask, 0.4), mask) == pytest.approx(0.5)
    assert occlusion.cover(region, mask, np.array([[0.0, 19, 0]])).shape == region.shape


def test_scores_fall_by_one_for_each_covered_tube_and_then_stay() -> None:
    region = np.full((60, 20, 20), 0.5, dtype=np.float32)
    centres = np.array([[10.0 * i + 5, 10, 10] for i in range(4)])
    for x, y, z in centres.astype(int):
        region[x, y, z] = 1
    scores = occlusion.occlusion_scores(
        region, np.ones_like(region), centres, lambda s: float((s > 0.9).sum())
    )
    assert scores == [4, 3, 2, 1, 0, 0, 0]


def test_curve_of_groups_ends_with_their_epvs() -> None:
    rows = [(marked, n, max(marked - n, 0)) for marked in (2, 3, 5, 5) for n in range(7)]
    curve = occlusion.curve(pd.DataFrame(rows, columns=["marked", "occluded", "score"]))
    every = curve[curve["group"] == "all"]
    assert every["mean"].tolist() == pytest.approx([3.75, 2.75, 1.75, 1, 0.5, 0, 0])
    assert curve[curve["group"] == "1–3"]["occluded"].max() == 3
    assert curve[curve["group"] == "4–6"]["occluded"].max() == 5
    assert [occlusion.group_of(n) for n in (1, 3, 4, 9, 10, 80)] == [
        "1–3",
        "1–3",
        "4–6",
        "7–9",
        "10 or more",
        "10 or more",
    ]


def test_occlusion_covers_the_marked_points_of_the_scanner(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(3)
    matrix = np.eye(4)
    matrix[:3, 3] = (4.0, -3.0, 2.0)  # template mm to scan mm
    folder = study.bids_dir / "derivatives" / "marks" / "sub-0001" / "anat"  # type: ignore[operator]
    folder.mkdir(parents=True)
    centres = write_images(study, "sub-0001", 3)
    anat = study.output_dir / "sub-0001" / "anat"
    next(anat.glob("*_scores.tsv")).rename(anat / "sub-0001_desc-epvs_scores.tsv")
    save_itk(anat / "sub-0001_from-T2w_to-MNI152NLin2009cAsym_mode-image_xfm.txt", matrix)
    points = centres @ AFFINE[:3, :3].T + AFFINE[:3, 3] + matrix[:3, 3]
    table = pd.DataFrame(points, columns=["x", "y", "z"]).assign(rater="A1")
    table.to_csv(folder / "sub-0001_desc-epvs_markers.tsv", sep="\t", index=False)
    assert occlusion._voxels(study.regions[0], AFFINE, points) == pytest.approx(centres, abs=1e-4)
    model = small_model(tmp_path / "model")
    result = occlusion.run(Study(study.output_dir, study.bids_dir, GroupOptions(model=model, device="cpu")))
    assert result.tables["scans"]["occluded"].tolist() == list(range(7))
    assert result.tables["scans"]["marked"].unique().tolist() == [3]
    assert result.tables["scans"]["score"].iloc[3:].nunique() == 1
    in_output = study.output_dir / "derivatives" / "epvs-rate" / "sub-0001" / "anat"
    in_output.mkdir(parents=True)
    (folder / "sub-0001_desc-epvs_markers.tsv").rename(in_output / "sub-0001_desc-epvs_markers.tsv")
    again = occlusion.run(Study(study.output_dir, study.bids_dir, GroupOptions(model=model, device="cpu")))
    pd.testing.assert_frame_equal(again.tables["scans"], result.tables["scans"])
    score = anat / "sub-0001_desc-epvs_scores.tsv"
    score.write_text(score.read_text().replace("default", "mine"))
    with pytest.raises(CannotRun, match="scores come from default and mine; give the folder of the model"):
        occlusion.run(Study(study.output_dir, study.bids_dir, GroupOptions(device="cpu")))
    one = GroupOptions(device="cpu", participants=("sub-0001",))
    with pytest.raises(CannotRun, match="scores come from mine; give the folder of the model"):
        occlusion.run(Study(study.output_dir, study.bids_dir, one))
    shutil.copytree(model, study.output_dir / "models" / "mine")
    own = occlusion.run(Study(study.output_dir, study.bids_dir, one))
    assert own.notes[0] == "scored by model mine"
    pd.testing.assert_frame_equal(own.tables["scans"], result.tables["scans"])
    status = {"scan": "sub-0001_T2w", "result": "failed", "reason": "truncated"}
    write_json(study.output_dir / "logs" / "scans" / "sub-0001_T2w.json", status)
    with pytest.raises(CannotRun, match="no scan has both marked EPVS and a region"):
        occlusion.run(Study(study.output_dir, study.bids_dir, one))
    (folder / "sub-0001_desc-epvs_markers.tsv").write_text("x\ty\tz\n1\t2\there\n")
    with pytest.raises(BadDataError, match=r"markers.tsv, row 2: x, y and z must be numbers"):
        occlusion.run(study)


def test_images_of_a_region_are_found_and_the_rated_slice_is_that_of_the_commissure(
    make_study: MakeStudy,
) -> None:
    study = make_study(1)
    write_images(study, "sub-0001", 2)
    images = read_region(study.regions[0])
    assert images.roi.shape == images.scan.shape == images.mask.shape == SHAPE
    assert images.rated_slice == 10  # z = −10 mm + 10 × 0.5 mm
    assert images.scan.max() > 150
    assert images.roi.max() == 1


def test_baselines_from_files(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "run_methods", partial(baselines.run_methods, n_trees=30))
    study = make_study(44)
    for index, row in enumerate(study.ratings.itertuples()):
        anat = study.output_dir / row.participant_id / "anat"
        next(anat.glob("*_scores.tsv")).rename(anat / f"{row.participant_id}_desc-epvs_scores.tsv")
        write_images(study, row.participant_id, int(min(row.A, 16)), seed=index)
    result = baselines.run(Study(study.output_dir, study.bids_dir))
    table = result.tables[""].set_index("method")
    assert len(table) == 6
    assert table["williams_df"].dropna().unique().tolist() == [table["n"].iloc[0] - 3]
    assert np.isnan(table.loc["network", "williams_p"])
    assert table.loc["components (c)", "pearson"] > 0.8
    assert result.tables["scans"]["part"].value_counts()["test"] == table["n"].iloc[0]
    assert any("split anew" in note for note in result.notes)


def test_baselines_say_what_they_lack(make_study: MakeStudy) -> None:
    with pytest.raises(CannotRun, match="0 scans have a score, a rating by A and a region on disk"):
        baselines.run(make_study(50))


def test_calibration_is_written_as_a_model_on_top_of_the_one_there_is(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study(30)
    source = small_model(tmp_path / "base", slope=2.0)
    for label in study.ratings["participant_id"]:
        before = study.scores.set_index("participant_id")["score"][label]
        write_scores(study.output_dir, label, "", 3 * before + 5, model="base")
    study = Study(study.output_dir, study.bids_dir, GroupOptions(model=source), OURS)
    result = calibrate.run(study)
    slope, intercept = result.numbers["slope"], result.numbers["intercept"]
    expected = np.polyfit(study.scores["score"], study.ratings["A"], 1)
    assert [slope, intercept] == pytest.approx(expected, rel=1e-4)
    assert result.numbers["mse_cross_validated"] < 0.2 * result.numbers["mse_before"]
    (written,) = load_models(study.output_dir / "models" / "ours")
    assert written.description.calibration == pytest.approx(
        {"slope": 2 * slope, "intercept": slope + intercept}
    )
    assert written.description.card.startswith("Calibrated to the ratings of 30 scans")


def test_curve_follows_the_line_that_a_model_has_and_a_line_follows_a_curve() -> None:
    curve = Curve(np.array([3.0, 7.0, 9.0]), np.array([0.0, 1.0, 6.0]))
    both = combine({"slope": 2.0, "intercept": 1.0}, curve)
    raw = np.array([0.0, 1.5, 3.6, 9.0])
    assert [apply_calibration(both, value) for value in raw] == pytest.approx(curve(2 * raw + 1))
    thrice = combine(both, Line(0.5, -1.0))
    expected = 0.5 * curve(2 * raw + 1) - 1
    assert [apply_calibration(thrice, value) for value in raw] == pytest.approx(expected)


def test_calibration_by_a_curve_scores_like_the_curve(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(80)
    source = small_model(tmp_path / "base", slope=2.0)
    for row in study.ratings.itertuples():
        write_scores(study.output_dir, row.participant_id, "", float(np.sqrt(row.A)), model="base")
    study = Study(study.output_dir, study.bids_dir, GroupOptions(model=source), OURS)
    result = calibrate.run(study)
    assert result.numbers["kind"] == "curve"
    assert "clearly smaller than a line's" in result.summary
    (written,) = load_models(study.output_dir / "models" / "ours")
    (base,) = load_models(source)
    roi = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    before = score(roi, [base], device="cpu").score
    calibration = written.description.calibration
    assert calibration is not None
    knots = 2 * np.array(calibration["scores"]) + 1
    assert score(roi, [written], device="cpu").score == pytest.approx(
        np.interp(before, knots, calibration["ratings"])
    )


def test_calibration_refuses_scores_of_another_model_and_too_few(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study(12)
    source = small_model(tmp_path / "other")
    with pytest.raises(BadDataError, match="scores come from model default, and other"):
        calibrate.run(Study(study.output_dir, study.bids_dir, GroupOptions(model=source)))
    study.ratings_path.write_text("\n".join(study.ratings_path.read_text().splitlines()[:6]) + "\n")
    with pytest.raises(CannotRun, match="5 scans have a score and a rating by A; 10 are needed"):
        calibrate.run(Study(study.output_dir, study.bids_dir))


def calibration_study(
    study: Study, source: Path, *, analyses: tuple[str, ...] = (), training: TrainingSettings | None = None
) -> Study:
    for label, value in study.scores[["participant_id", "score"]].itertuples(index=False):
        write_scores(study.output_dir, label, "", value, model=source.name)
    options = GroupOptions(model=source, analyses=analyses)
    return Study(study.output_dir, study.bids_dir, options, training or TrainingSettings())


def test_calibration_keeps_the_split_that_its_model_was_trained_on(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    source = tmp_path / "base"
    for name in ("model-1", "model-2"):
        small_model(source / name)
        write_split(source / name, {f"sub-{i:04d}": "train" for i in range(1, 9)})
    save_ensemble(source, 2)
    study = calibration_study(make_study(12), source, training=OURS)
    result = calibrate.run(study)
    target = study.output_dir / "models" / "ours"
    for name in ("model-1", "model-2"):
        assert (target / name / "split.tsv").read_text() == (source / name / "split.tsv").read_text()
    assert any("8 of 12 rated scans were in the network's training" in note for note in result.notes)
    other = calibration_study(study, small_model(tmp_path / "other"), training=OURS)
    calibrate.run(other)  # over its own result, whose split is another model's
    assert not list(target.rglob("split.tsv"))
    assert len(load_models(target)) == 1


def test_calibration_writes_over_no_model_that_it_did_not_make(make_study: MakeStudy, tmp_path: Path) -> None:
    study = calibration_study(make_study(12), small_model(tmp_path / "base"))
    target = study.output_dir / "models" / "epvs"
    for trained in (target, target / "model-1"):
        weights = small_model(trained) / "model.safetensors"
        before = weights.read_bytes()
        with pytest.raises(
            CannotCreateError, match=r"models/epvs.* did not make; choose another --model-name"
        ):
            calibrate.run(study)
        assert weights.read_bytes() == before
        for path in trained.glob("model.*"):
            path.unlink()
    (target / "checkpoint.pt").touch()  # a training that has not ended
    with pytest.raises(CannotCreateError, match="did not make"):
        calibrate.run(study)
    both = calibration_study(study, tmp_path / "base", analyses=("calibrate", "train"))
    with pytest.raises(UsageError, match=r"calibrate train: both write .*epvs; .*--model-name"):
        calibrate.run(both)
