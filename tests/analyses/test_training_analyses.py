"""`train`, `learning-curve` and `hyperparameters` on tiny regions whose spots the rater counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from epvs_bids.analyses import experiments, hyperparameters, learning_curve, train
from epvs_bids.analyses.base import Study
from epvs_bids.analyses.model_split import find_split
from epvs_bids.analyses.options import GroupOptions, TrainingSettings
from epvs_bids.analyses.rated_regions import rated_regions
from epvs_bids.errors import BadDataError, CannotRun, UsageError
from epvs_bids.files import read_tsv, write_json
from epvs_bids.network import fit
from epvs_bids.network.architecture import Architecture, build_network
from epvs_bids.network.checkpoint import ModelDescription, load_models, save_model
from epvs_bids.network.inference import score
from epvs_bids.network.options import make_options
from epvs_bids.network.readout import column_sums

SHAPE = (20, 18, 16)
PREPROCESSING = {"voxel_size": 0.5, "registration": True}
QUICK = {"model_name": "ours", "recipe": "modern", "features": 2, "max_epochs": 1}

MakeStudy = Callable[..., Study]


def write_region(out: Path, label: str, spots: int, rng: np.random.Generator, *, session: str = "") -> None:
    region = np.full(SHAPE, 0.3, np.float32)
    region[0] = 0.0
    for _ in range(spots):
        x, y, z = (int(rng.integers(4, size - 5)) for size in SHAPE)
        region[x : x + 2, y : y + 2, z : z + 2] = 1.0
    folder = out / label / session / "anat"
    folder.mkdir(parents=True)
    entities = f"{label}_{session}" if session else label
    stem = f"{entities}_space-MNI152NLin2009cAsym_res-05_label-BG_desc-roi_T2w"
    nib.save(nib.Nifti1Image(region, np.diag([0.5, 0.5, 0.5, 1])), folder / f"{stem}.nii.gz")
    (folder / f"{stem}.json").write_text(json.dumps({"Preprocessing": PREPROCESSING}))


def fail(folder: Path) -> None:
    """Write into a region's sidecar that it failed quality control."""
    (sidecar,) = folder.glob("*_desc-roi_T2w.json")
    content = json.loads(sidecar.read_text()) | {"FailedChecks": ["a third lies outside the scan"]}
    sidecar.write_text(json.dumps(content))


@pytest.fixture
def rated(tmp_path: Path) -> MakeStudy:
    """Write a study of `count` regions and ratings; give what asks for a run on it."""

    def make(count: int = 16, *, strict: bool = False, **training: object) -> Study:
        bids, out = tmp_path / "bids", tmp_path / "out"
        if not bids.exists():
            rng = np.random.default_rng(0)
            spots = rng.integers(0, 8, count)
            labels = [f"sub-{index:02d}" for index in range(count)]
            for label, number in zip(labels, spots, strict=True):
                write_region(out, label, int(number), rng)
            (bids / "phenotype").mkdir(parents=True)
            ratings = pd.DataFrame({"participant_id": labels, "A": spots})
            ratings.to_csv(bids / "phenotype" / "epvs.tsv", sep="\t", index=False)
            ratings[["participant_id"]].to_csv(bids / "participants.tsv", sep="\t", index=False)
        options = GroupOptions(seed=3, threads=1, device="cpu", strict=strict)
        return Study(out, bids, options, TrainingSettings(**{**QUICK, **training}))  # type: ignore[arg-type]

    return make


@pytest.fixture
def spot_detector(tmp_path: Path) -> Path:
    """A model whose map lights up in the middle of bright spots."""
    architecture = Architecture(channels=((1,),), head="sum")
    network = build_network(architecture, SHAPE)
    with torch.no_grad():
        network.blocks[0][0].convolution.weight.zero_()[0, 0, 1, 1, 1] = 1.0
        network.blocks[0][0].convolution.bias.fill_(-0.5)
        network.head.detector.weight.fill_(40.0)
        network.head.detector.bias.fill_(-10.0)
    description = ModelDescription(architecture=architecture, input_shape=SHAPE, preprocessing=PREPROCESSING)
    save_model(tmp_path / "detector", network, description)
    return tmp_path / "detector"


def test_an_ensemble_is_trained_on_splits_of_its_own(rated: MakeStudy) -> None:
    study = rated(n_models=2, test_fraction=0.2)
    result = train.run(study)
    folder = study.output_dir / "models" / "ours"
    models = load_models(folder)
    assert [model.name for model in models] == ["model-1", "model-2"]
    assert models[0].description.preprocessing == PREPROCESSING
    assert models[0].description.training["options"]["max_epochs"] == 1
    splits = [read_tsv(folder / f"model-{index}" / "split.tsv")["split"] for index in (1, 2)]
    assert ((splits[0] == "test") == (splits[1] == "test")).all()
    assert not (splits[0] == splits[1]).all()
    assert all(set(split) == {"train", "validation", "test"} for split in splits)
    history = pd.read_csv(folder / "model-1" / "history.csv")
    assert history["validation_loss"].notna().all()
    assert models[0].description.training["best_epoch"] == 1
    (losses, _) = (line.get_ydata() for line in result.figures["history"]().axes[0].lines)
    np.testing.assert_allclose(losses, history["training_loss"])
    predictions = result.tables["predictions"]
    held_out = predictions[predictions["split"] != "train"]
    assert held_out["prediction"].notna().all()
    region = np.asarray(nib.load(study.regions[0].image).dataobj, dtype=np.float32)
    assert np.isfinite(score(region, models, device="cpu").score_sd)
    assert (folder / "model-1" / "history.csv").is_file()


def test_a_model_that_detects_needs_few_scans(rated: MakeStudy, spot_detector: Path) -> None:
    result = train.run(rated(features=None, max_epochs=None, init_from=str(spot_detector)))
    assert result.numbers["icc11_validation"] > 0.9
    (model,) = load_models(Path(result.numbers["model"]))
    assert model.description.training["init_from"] == "detector"
    assert any("Started from model detector" in note for note in result.notes)


def test_lines_of_an_ensemble_differ_by_the_scans_they_leave_out(
    rated: MakeStudy, spot_detector: Path
) -> None:
    study = rated(features=None, max_epochs=None, init_from=str(spot_detector), n_models=3)
    result = train.run(study)
    folder = study.output_dir / "models" / "ours"
    region = np.asarray(nib.load(study.regions[0].image).dataobj, dtype=np.float32)
    assert score(region, load_models(folder), device="cpu").score_sd > 0
    model = result.tables["predictions"].query("model == 'model-1'")
    assert model.query("split == 'validation'")["prediction"].notna().all()


def test_the_model_trained_last_is_the_one_that_scores(rated: MakeStudy, spot_detector: Path) -> None:
    def names(n_models: int) -> list[str]:
        study = rated(features=None, max_epochs=None, init_from=str(spot_detector), n_models=n_models)
        train.run(study)
        folder = study.output_dir / "models" / "ours"
        assert find_split(study, ["ours"]) == folder / ("split.tsv" if n_models == 1 else "model-1/split.tsv")
        return [model.name for model in load_models(folder)]

    assert [names(1), names(2), names(1)] == [["ours"], ["model-1", "model-2"], ["ours"]]


def test_regions_that_failed_quality_control_teach_nothing(rated: MakeStudy) -> None:
    fail(rated().output_dir / "sub-00" / "anat")
    found = rated_regions(rated(strict=True))
    assert len(found.regions) == 15
    assert found.notes == ("failed quality control, 1 scan: sub-00",)


def test_a_rating_without_a_session_goes_with_no_session_that_happens_to_be_usable(rated: MakeStudy) -> None:
    """The other session failed quality control: the rating may be of that one."""
    out = rated().output_dir
    rng = np.random.default_rng(5)
    (out / "sub-00" / "anat").rename(out / "sub-00" / "first")
    for session in ("ses-1", "ses-2"):
        write_region(out, "sub-00", 3, rng, session=session)
    fail(out / "sub-00" / "ses-1" / "anat")
    with pytest.raises(BadDataError, match=r"sub-00, column session_id: it names none, and there are 2"):
        rated_regions(rated())


def test_of_two_scans_of_a_session_the_usable_one_is_learned_from(rated: MakeStudy) -> None:
    folder = rated().output_dir / "sub-00" / "anat"
    for path in list(folder.iterdir()):
        shutil.copy(path, folder / path.name.replace("sub-00_", "sub-00_acq-a_"))
    sidecar = next(folder.glob("sub-00_acq-a_*.json"))
    sidecar.write_text(json.dumps({"Preprocessing": PREPROCESSING, "FailedChecks": ["cut"]}))
    found = rated_regions(rated())
    assert found.regions[0].name == "sub-00"
    assert found.notes == ()


def test_two_ratings_of_one_region_are_refused(rated: MakeStudy) -> None:
    path = rated().bids_dir / "phenotype" / "epvs.tsv"
    table = pd.read_csv(path, sep="\t").assign(session_id="n/a")
    table = pd.concat([table, pd.DataFrame([{"participant_id": "sub-00", "A": 9, "session_id": "ses-1"}])])
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(BadDataError, match="2 sessions where one is expected"):
        rated_regions(rated())


def test_regions_whose_last_run_failed_teach_nothing(rated: MakeStudy) -> None:
    status = {"scan": "sub-01_T2w", "result": "failed", "reason": "truncated"}
    write_json(rated().output_dir / "logs" / "scans" / "sub-01_T2w.json", status)
    assert [region.name for region in rated_regions(rated()).regions][:2] == ["sub-00", "sub-02"]


def test_options_of_training_are_refused_where_a_line_is_fitted(
    rated: MakeStudy, spot_detector: Path
) -> None:
    with pytest.raises(UsageError, match="loss is without effect"):
        train.run(rated(features=None, max_epochs=None, loss="rmse", init_from=str(spot_detector)))


@pytest.mark.parametrize("changed", ["init_from", "regions"])
def test_a_run_is_not_resumed_from_another_model_or_on_other_regions(
    rated: MakeStudy, spot_detector: Path, changed: str
) -> None:
    study = rated()
    train.run(study)
    more = {"init_from": str(spot_detector)} if changed == "init_from" else {}
    if changed == "regions":
        image = nib.load(study.regions[0].image)
        nib.save(nib.Nifti1Image(image.get_fdata() / 2, image.affine), study.regions[0].image)
    with pytest.raises(BadDataError, match=f"is of a run with {changed} "):
        train.run(rated(resume=True, **more))


def test_a_gpu_that_refuses_leaves_the_line_to_the_cpu(
    rated: MakeStudy, spot_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on(device: torch.device) -> torch.device:
        return torch.device("cuda")

    def sums(*given: object, device: torch.device) -> np.ndarray:
        if device.type == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return column_sums(*given, device=device)

    monkeypatch.setattr(train, "worker_device", on)
    monkeypatch.setattr(fit, "column_sums", sums)
    result = train.run(rated(features=None, max_epochs=None, init_from=str(spot_detector)))
    assert result.numbers["icc11_validation"] > 0.9


def test_other_ratings_ask_for_new_runs(rated: MakeStudy) -> None:
    """A checkpoint of the old ones is there."""
    study = rated(24, training_sizes=(8,), repeats=1)
    before = learning_curve.run(study).tables["runs"]
    path = study.bids_dir / "phenotype" / "epvs.tsv"
    table = pd.read_csv(path, sep="\t")
    table.assign(A=table["A"] + table.index).to_csv(path, sep="\t", index=False)
    after = learning_curve.run(rated(24, training_sizes=(8,), repeats=1)).tables["runs"]
    assert (after["mse"] != before["mse"]).all()


def test_runs_that_learn_nothing_are_said_to(rated: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def constant(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(predictions=np.ones(24))

    monkeypatch.setattr(experiments, "fit_model", constant)
    curve = learning_curve.run(rated(24, training_sizes=(8,), repeats=2))
    assert curve.summary.startswith("No run converged")
    assert (curve.tables["runs"]["status"] == "did not converge").all()
    table = hyperparameters.run(rated(24, configurations=None))
    assert "none converged" in table.summary


def test_ratings_and_regions_without_partner_are_named_or_refused(rated: MakeStudy) -> None:
    study = rated()
    path = study.bids_dir / "phenotype" / "epvs.tsv"
    table = pd.read_csv(path, sep="\t", dtype=str)
    table.loc[0, "A"], table.loc[1, "A"], table.loc[2, "A"] = "-3", "many", "n/a"
    table.to_csv(path, sep="\t", index=False)
    found = rated_regions(rated())
    assert len(found.regions) == 13
    assert "sub-00_T2w" not in [region.name for region in found.regions]
    assert "a region but no rating by A" in found.notes[0]
    with pytest.raises(BadDataError, match=r"-3 is no possible count"):
        rated_regions(rated(strict=True))


def test_nothing_to_train_on(rated: MakeStudy, tmp_path: Path) -> None:
    study = rated()
    with pytest.raises(CannotRun, match="no regions"):
        train.run(Study(tmp_path / "empty", study.bids_dir, study.options, study.training))


def test_regions_of_other_preprocessing_can_not_continue_a_model(
    rated: MakeStudy, spot_detector: Path
) -> None:
    path = spot_detector / "model.json"
    path.write_text(path.read_text().replace('"voxel_size": 0.5', '"voxel_size": 1.0'))
    with pytest.raises(BadDataError, match=r"voxel_size = 0\.5; the model was trained with 1\.0"):
        train.run(rated(init_from=str(spot_detector), features=None, max_epochs=None))


def test_learning_curve_is_spread_and_resumed_run_by_run(rated: MakeStudy, spot_detector: Path) -> None:
    more = {
        "features": None,
        "max_epochs": None,
        "init_from": str(spot_detector),
        "training_sizes": (5, 500, 6),
        "repeats": 2,
    }
    first = learning_curve.run(rated(24, run_index=3, **more))
    assert first.tables["runs"]["run"].tolist() == [3]
    folder = Path(rated().output_dir) / "models" / "ours" / "learning-curve"
    made = (folder / "run-003.json").stat().st_mtime_ns
    whole = learning_curve.run(rated(24, **more))
    assert whole.tables["runs"]["size"].tolist() == [5, 5, 6, 6]
    assert (folder / "run-003.json").stat().st_mtime_ns == made
    assert any("too few for 500" in note for note in whole.notes)
    icc = whole.tables[""].query("measure == 'icc11' and size == 6")
    values = whole.tables["runs"].query("size == 6")["icc11"]
    assert icc["mean"].item() == pytest.approx(values.mean())
    assert icc["mean_high"].item() == pytest.approx(values.mean() + 12.706 * values.std() / 2**0.5, rel=1e-3)
    whole.figures["icc11"]()
    with pytest.raises(UsageError, match="the runs are 0 to 3"):
        learning_curve.run(rated(24, run_index=4, **more))


def test_the_papers_recipe_draws_deep_and_shallow(rated: MakeStudy) -> None:
    deep = make_options("paper", changes={"features": 2, "dense": (2,)})
    shallow = make_options("paper", changes={"features": 2, "dense": (2,), "convolutions": 1})
    assert (deep.architecture.convolutions, shallow.architecture.convolutions) == (4, 1)
    more = {"recipe": "paper", "features": 1, "blocks": 1, "convolutions": 1, "dense": (2,)}
    result = learning_curve.run(rated(24, training_sizes=(8,), repeats=1, **more))
    assert set(result.tables["runs"]["network"]) == {"deep", "shallow"}


def test_configurations_share_one_split(rated: MakeStudy, tmp_path: Path) -> None:
    path = tmp_path / "two.yml"
    path.write_text("small: {features: 1, paper_icc: 0.7}\nflat: {loss: rmse}\nraw: {registration: false}\n")
    study = rated(configurations=path, test_fraction=0.3)
    result = hyperparameters.run(study)
    table = result.tables[""]
    assert table["configuration"].tolist() == ["small", "flat"]
    assert table["paper_icc"].tolist()[0] == 0.7
    done = table[table["status"] == "done"]
    assert (done["icc11_low"] < done["icc11"]).all()
    assert any(note.startswith("raw: needs regions made without") for note in result.notes)
    folder = study.output_dir / "models" / "ours" / "hyperparameters"
    assert (read_tsv(folder / "split.tsv")["split"] == "test").sum() == table["n_test"].iloc[0]


def test_shares_of_a_curve_and_of_a_comparison_are_those_asked_for(
    rated: MakeStudy, spot_detector: Path, tmp_path: Path
) -> None:
    warm = {"features": None, "max_epochs": None, "init_from": str(spot_detector)}
    curve = {"training_sizes": (10,), "repeats": 1, **warm}
    runs = learning_curve.run(rated(24, validation_fraction=0.4, **curve)).tables["runs"]
    assert runs[["n_train", "n_validation", "n_test"]].iloc[0].tolist() == [6, 4, 14]
    with pytest.raises(UsageError, match="--test-fraction: a learning curve tests on all scans"):
        learning_curve.run(rated(24, test_fraction=0.2, **curve))
    path = tmp_path / "one.yml"
    path.write_text("line: {}\n")
    shares = {"configurations": path, "validation_fraction": 0.25, "test_fraction": 0.5, **warm}
    table = hyperparameters.run(rated(24, **shares)).tables[""]
    assert table[["n_train", "n_validation", "n_test"]].iloc[0].tolist() == [6, 6, 12]
    with pytest.raises(UsageError, match="--test-fraction 0: configurations are compared on scans"):
        hyperparameters.run(rated(24, **{**shares, "test_fraction": 0.0}))
    with pytest.raises(UsageError, match=r"0\.25 and --test-fraction 0\.75 leave no scans to learn from"):
        hyperparameters.run(rated(24, **{**shares, "test_fraction": 0.75}))
    with pytest.raises(UsageError, match=r"0\.2 and --test-fraction 0\.9 leave no scans"):
        train.run(rated(24, test_fraction=0.9))


def test_every_configuration_of_table_3_can_be_built() -> None:
    configurations = hyperparameters.read_configurations(hyperparameters.TABLE_3)
    assert len(configurations) == 18
    for values in configurations.values():
        changes = {name: value for name, value in values.items() if name in hyperparameters.CHANGES}
        with torch.device("meta"):
            build_network(make_options("paper", changes=changes).architecture)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {speed: 3}", "a has 'speed'"),
        ("- a", "a mapping of configuration names"),
        ("a: [", "not valid YAML"),
    ],
)
def test_configurations_that_can_not_be_read_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yml"
    path.write_text(text)
    with pytest.raises(BadDataError, match=message):
        hyperparameters.read_configurations(path)
