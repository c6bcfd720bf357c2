"""Runs that must end before they begin, and say why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from running import NOTHING, OFFLINE, WITHOUT_POWERS, Head, holding_locks, without

Ends = Callable[..., str]


@pytest.fixture
def bids(empty_files: Callable[..., Path]) -> Path:
    return empty_files("sub-01/anat/sub-01_PDw.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz")


@pytest.fixture
def run_with(bids: Path, tmp_path: Path, ends: Ends) -> Ends:
    """Run the participant level with more options; it has to end as the mark says."""
    return lambda *words: ends(
        bids, tmp_path / "out", "participant", "-w", tmp_path / "work", *OFFLINE, *words
    )


@pytest.fixture
def run_with_text(tmp_path: Path, run_with: Ends) -> Callable[[str, str], str]:
    """The same with an option whose value is a file of this text."""

    def run(option: str, text: str) -> str:
        path = tmp_path / "given"
        path.write_text(text)
        return run_with(option, path)

    return run


@pytest.fixture
def changed_model(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be changed."""
    return shutil.copytree(model, tmp_path / "model")


@pytest.mark.fault(
    "A participant's folder given as `bids_dir`",
    says="is the folder of one participant",
    code=16,
    keeps=NOTHING,
)
def test_single_participant_as_data_set(bids: Path, tmp_path: Path, ends: Ends) -> None:
    shown = ends(bids / "sub-01", tmp_path / "out", "participant", *OFFLINE)
    assert str(bids) in shown


@pytest.mark.fault(
    "`output_dir` is `bids_dir`", says="are the same folder", code=73, keeps="the input is untouched"
)
def test_output_is_input(bids: Path, ends: Ends) -> None:
    before = sorted(bids.rglob("*"))
    ends(bids, bids, "participant", *OFFLINE)
    assert sorted(bids.rglob("*")) == before


@pytest.mark.fault(
    "`output_dir` or `-w` inside `bids_dir`, also through a link",
    says="lies inside bids_dir",
    code=73,
    keeps="the input is untouched",
)
@pytest.mark.parametrize("which", ["output", "work", "link"])
def test_output_inside_input(which: str, bids: Path, tmp_path: Path, ends: Ends) -> None:
    before = sorted(bids.rglob("*"))
    (tmp_path / "elsewhere").symlink_to(bids)
    inside = tmp_path / "elsewhere" / "derivatives" if which == "link" else bids / "derivatives"
    out, work = (tmp_path / "out", inside) if which == "work" else (inside, tmp_path / "work")
    ends(bids, out, "participant", "-w", work, *OFFLINE)
    assert sorted(bids.rglob("*")) == before


@pytest.mark.fault("No such data set", says="does not exist", code=66, keeps=NOTHING)
def test_no_data_set(tmp_path: Path, ends: Ends) -> None:
    ends(tmp_path / "nowhere", tmp_path / "out", "participant", *OFFLINE)


@pytest.mark.fault("No `dataset_description.json`", says="no BIDS data set", code=16, keeps=NOTHING)
def test_no_description(bids: Path, tmp_path: Path, ends: Ends) -> None:
    (bids / "dataset_description.json").unlink()
    ends(bids, tmp_path / "out", "participant", "-w", tmp_path / "work")


@pytest.mark.fault("A malformed `dataset_description.json`", says="is not valid JSON", code=16, keeps=NOTHING)
def test_malformed_description(bids: Path, tmp_path: Path, ends: Ends) -> None:
    (bids / "dataset_description.json").write_text('{"Name": "x",')
    ends(bids, tmp_path / "out", "participant", "-w", tmp_path / "work")


@pytest.mark.fault(
    "Only labels that the data set does not have", says="select no scan", code=18, keeps=NOTHING
)
@pytest.mark.parametrize("label", ["99", "sub-99", "Zoë", "..", "01;id", "*", "0" * 300])
def test_unknown_labels(label: str, run_with: Ends) -> None:
    run_with("--participant-label", label)


@pytest.mark.fault("Filters that select nothing", says="select no scan", code=18, keeps=NOTHING)
def test_filters_select_nothing(run_with_text: Ends) -> None:
    run_with_text("--bids-filter-file", json.dumps({"pdw": {"run": 7}, "t2w": {"session": None}}))


@pytest.mark.fault("A filter file that is no JSON", says="is not valid JSON", code=65, keeps=NOTHING)
def test_malformed_filters(run_with_text: Ends) -> None:
    run_with_text("--bids-filter-file", "pdw: {}")


@pytest.mark.fault("A misspelt option", says="unrecognized arguments", code=64, keeps=NOTHING)
def test_misspelt_option(run_with: Ends) -> None:
    run_with("--participant-lable", "01")


@pytest.mark.fault("Another analysis level", says="Unknown analysis level", code=17, keeps=NOTHING)
def test_unknown_level(bids: Path, tmp_path: Path, ends: Ends) -> None:
    ends(bids, tmp_path / "out", "subject")


@pytest.mark.fault(
    "`output_dir` lies below a file", says="a part of the path is a file", code=73, keeps=NOTHING
)
def test_output_below_a_file(bids: Path, tmp_path: Path, ends: Ends) -> None:
    (tmp_path / "file").touch()
    ends(bids, tmp_path / "file/out", "participant", "-w", tmp_path / "work", *OFFLINE)


@pytest.mark.fault(
    "A model of another version of the format", says="format_version is 99", code=65, keeps=NOTHING
)
def test_model_of_another_version(changed_model: Path, run_with: Ends) -> None:
    for path in changed_model.glob("model-*/model.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    run_with("--model", changed_model)


@pytest.mark.fault(
    "Model weights with a flipped byte",
    says="is not the file that model.json describes",
    code=65,
    keeps=NOTHING,
)
def test_model_with_a_flipped_byte(changed_model: Path, run_with: Ends) -> None:
    weights = changed_model / "model-2/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    run_with("--model", changed_model)


@pytest.mark.fault("A malformed `model.json`", says="is not valid JSON", code=65, keeps=NOTHING)
def test_malformed_model(changed_model: Path, run_with: Ends) -> None:
    (changed_model / "model-1/model.json").write_text('{"format_version": 1,')
    run_with("--model", changed_model)


@pytest.mark.fault("A folder without a model", says="holds no model", code=66, keeps=NOTHING)
def test_no_model(tmp_path: Path, run_with: Ends) -> None:
    run_with("--model", tmp_path)


@pytest.mark.fault(
    "A plugin file that names no plugin of nipype", says="nipype has no plugin", code=65, keeps=NOTHING
)
def test_unknown_plugin(run_with_text: Ends) -> None:
    run_with_text("--use-plugin", "plugin: Slurmm\n")


@pytest.mark.fault(
    "Another run works on the participants in the same work folder",
    says="another run is working",
    code=75,
    keeps="what the other run writes",
)
def test_busy_participants(bids: Path, model: Path, tmp_path: Path, run_with: Ends) -> None:
    with holding_locks(bids, tmp_path / "work", ["01", "02"]):
        run_with("--model", model)
    assert not list((tmp_path / "out").glob("sub-*/anat/*"))


@pytest.mark.fault("The group level before any participant", says="participant", code=66, keeps=NOTHING)
def test_group_without_scores(bids: Path, tmp_path: Path, ends: Ends) -> None:
    ends(bids, tmp_path / "out", "group")


@pytest.mark.fault(
    "`-d` or `--fs-subjects-dir` misspelt, or a file", says="Correct the path", code=66, keeps=NOTHING
)
@pytest.mark.parametrize("option", ["-d", "--fs-subjects-dir"])
@pytest.mark.parametrize("name", ["nothing", "bids/README"])
def test_no_derivatives(option: str, name: str, tmp_path: Path, run_with: Ends) -> None:
    run_with(option, tmp_path / name)


@pytest.mark.fault("`--mem-mb 8`, which means 8 MB", says="too few for a scan", code=64, keeps=NOTHING)
def test_little_memory(run_with: Ends) -> None:
    run_with("--mem-mb", "8")


@pytest.mark.fault("Nonsense for a number", says="is expected", code=64, keeps=NOTHING)
@pytest.mark.parametrize(
    "words", ["--nprocs 0", "--nprocs 1.5", "--mem-mb lots", "--omp-nthreads -1", "--random-seed x"]
)
def test_nonsense_numbers(words: str, run_with: Ends) -> None:
    run_with(*words.split())


@pytest.mark.fault(
    "A plugin file that leaves no core or no memory", says="a number of at least", code=65, keeps=NOTHING
)
@pytest.mark.parametrize("argument", ["n_procs: 0", "memory_gb: 0", "memory_gb: .nan", "n_procs: [1]"])
def test_plugin_without_resources(argument: str, run_with_text: Ends) -> None:
    run_with_text("--use-plugin", f"plugin: MultiProc\nplugin_args: {{{argument}}}\n")


@pytest.mark.fault(
    "A file where `output_dir`, `-w` or `--bids-database-dir` should be",
    says="a file of that name is in the way",
    code=73,
    keeps="the file",
)
@pytest.mark.parametrize("which", ["output", "-w", "--bids-database-dir"])
def test_file_in_the_way(which: str, bids: Path, tmp_path: Path, ends: Ends) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / ("file" if which == "output" else "out")
    words = () if which == "output" else (which, tmp_path / "file")
    ends(bids, out, "participant", "-w", tmp_path / "work", *OFFLINE, *words)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.fault(
    "Filters by an entity that there is not", says="is not a recognized entity", code=65, keeps=NOTHING
)
def test_unknown_entity(run_with_text: Ends) -> None:
    run_with_text("--bids-filter-file", '{"pdw": {"colour": "red"}}')


@pytest.mark.fault("`--participant-label 1` for `sub-01`", says="did you mean 01?", code=18, keeps=NOTHING)
def test_label_without_zero(run_with: Ends) -> None:
    run_with("--participant-label", "1")


@pytest.mark.fault(
    "A path whose bytes are not UTF-8, as in the locale C", says="is not UTF-8 text", code=64, keeps=NOTHING
)
def test_path_that_is_no_text(bids: Path, tmp_path: Path, ends: Ends) -> None:
    ends(bids, tmp_path / "out\udce9", "participant", "-w", tmp_path / "work", *OFFLINE)


@pytest.mark.fault(
    "A template that there is not", says="is not in TemplateFlow's folder", code=66, keeps=NOTHING
)
@pytest.mark.parametrize("name", ["Nonsense", "../../etc/passwd", "MNI152NLin2009bAsym"])
def test_no_template(name: str, tmp_path: Path, run_with: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "templateflow"))
    run_with("--model", "none", "--template", name)


@pytest.mark.fault("A model's folder that is a link", says="", code=0, keeps="the scores of the model itself")
def test_linked_model(model: Path, tmp_path: Path) -> None:
    from epvs_bids.network.checkpoint import load_models

    (tmp_path / "link").symlink_to(model)
    members = zip(load_models(model), load_models(tmp_path / "link"), strict=True)
    for own, linked in members:
        assert linked.description == own.description
        for one, other in zip(own.network.parameters(), linked.network.parameters(), strict=True):
            assert one.equal(other)


@WITHOUT_POWERS
@pytest.mark.fault(
    "Permission to read the folders of a participant is missing; for another, to a FreeSurfer subject",
    says="Cannot read the folder",
    code=74,
    keeps="all results of the other participants; labels that can't be read are named and passed over",
)
def test_unreadable_folder(
    head: Head,
    empty_files: Callable[..., Path],
    add_scan: Callable[..., Path],
    ends_apart: Callable[..., str],
) -> None:
    bids = empty_files("sub-02/anat/sub-02_PDw.nii.gz", "derivatives/freesurfer/sub-01/mri/aseg.mgz")
    add_scan(bids, "sub-01_PDw", head)
    out = bids.parent / "out"
    locked = (bids / "sub-02/anat", bids / "derivatives/freesurfer/sub-01")
    words = ("participant", "-w", bids.parent / "work", "--model", "none", "--no-mni-registration", *OFFLINE)
    for folder in locked:
        folder.chmod(0)
    try:
        shown = ends_apart(bids, out, *words, prefix=without("dac_override", "dac_read_search"), timeout=900)
    finally:
        for folder in locked:
            folder.chmod(0o755)
    assert f"{locked[0]}: Permission denied. Check its permissions" in shown
    assert json.loads((out / "logs/scans/sub-01_PDw.json").read_text())["result"] == "made"
