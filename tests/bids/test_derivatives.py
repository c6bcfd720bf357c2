"""Names of outputs, sidecars and the files of the data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from epvs_bids.bids.boilerplate import methods_text
from epvs_bids.bids.dataset import dataset_description, write_dataset_files
from epvs_bids.bids.derivatives import ScanOutputs, image_sidecar, own_uri, raw_uri, score_dictionary
from epvs_bids.bids.scan import Scan
from epvs_bids.files import write_json

SCAN = Scan("01", "a", Path("/bids/sub-01/ses-a/anat/sub-01_ses-a_run-2_PDT2.nii.gz"), volume=0)
OUTPUTS = ScanOutputs(Path("/out"), SCAN, "MNI152NLin2009cAsym")


def test_names() -> None:
    anat = "/out/sub-01/ses-a/anat/sub-01_ses-a_run-2"
    roi = OUTPUTS.image("PDw", res="05", label="BG", desc="roi")
    assert str(roi) == f"{anat}_space-MNI152NLin2009cAsym_res-05_label-BG_desc-roi_PDw.nii.gz"
    native = OUTPUTS.image("PDw", label="BG", desc="saliency")
    assert str(native) == f"{anat}_label-BG_desc-saliency_PDw.nii.gz"
    assert str(OUTPUTS.transform()) == f"{anat}_from-PDw_to-MNI152NLin2009cAsym_mode-image_xfm.txt"
    assert OUTPUTS.transform(inverse=True).name.startswith("sub-01_ses-a_run-2_from-MNI152")
    assert str(OUTPUTS.scores) == f"{anat}_desc-epvs_scores.tsv"
    assert OUTPUTS.status.name == "sub-01_ses-a_run-2_PDT2.json"


def test_uris() -> None:
    assert raw_uri(Path("/bids"), Path("/bids/sub-01/anat/a b.nii")) == "bids:raw:sub-01/anat/a%20b.nii"
    assert raw_uri(Path("/bids"), Path("/elsewhere/x.nii")) == "x.nii"
    assert own_uri(Path("/out"), Path("/out/sub-01/x.nii")) == "bids::sub-01/x.nii"


def test_sidecar_has_what_bids_asks_for() -> None:
    sidecar = image_sidecar(
        "Scan", sources=["bids:raw:x"], res="05", skull_stripped=False, Extra=None, Scale=2.0
    )
    assert sidecar["SkullStripped"] is False
    assert "0.5 mm" in sidecar["Resolution"]
    assert sidecar["Scale"] == 2.0
    assert "Extra" not in sidecar
    assert "Resolution" not in image_sidecar("Scan", sources=[], res=None, skull_stripped=True)


def test_members_of_an_ensemble_are_in_the_dictionary() -> None:
    assert "model-5" in score_dictionary(5)
    assert "model-1" not in score_dictionary(1)


def test_data_set_files_are_the_same_whoever_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bids = tmp_path / "bids"
    bids.mkdir()
    (bids / "dataset_description.json").write_text(
        '{"Name": "x", "DatasetDOI": "doi:10.1/x", "License": "CC0"}'
    )
    (bids / "participants.tsv").write_text("participant_id\tage\nsub-1\t89+\n")
    monkeypatch.setenv("SINGULARITY_CONTAINER", "/images/epvs.sif")
    write_dataset_files(tmp_path / "out", bids)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    write_dataset_files(tmp_path / "out", bids)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == first
    assert (tmp_path / "out" / "participants.tsv").read_text() == (bids / "participants.tsv").read_text()
    described = dataset_description(bids)
    assert described["SourceDatasets"][0]["DOI"] == "doi:10.1/x"
    assert described["GeneratedBy"][0]["Container"]["Type"] == "singularity"
    assert described["DatasetLinks"]["raw"].startswith("file:///")


def test_methods_paragraph_cites_what_was_used_in_order() -> None:
    text = methods_text(segmentations=["SynthSeg", "FastSurfer"], n_models=5, saliency="gradient")
    body, references = text.split("# References")
    assert "SynthSeg" in body
    assert "FastSurfer" in body
    assert "SAMSEG" not in body
    numbers = [int(line.split(".")[0]) for line in references.strip().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(f"[{number}]" in body for number in numbers)
    assert "own space" in methods_text(template=None)
    assert "score is" not in methods_text(model="none")


def test_methods_name_the_choice_before_there_is_a_result() -> None:
    text = methods_text(segmentations=["freesurfer"])
    assert "FreeSurfer" in text
    assert "SAMSEG" not in text
    text = methods_text(segmentations=["existing"])
    assert "Existing segmentations" in text
    assert "SAMSEG" not in text


def image(outputs: ScanOutputs, path: Path) -> list[Path]:
    """Write an image's file and its sidecar, and return both."""
    sidecar = path.with_name(path.name.partition(".")[0] + ".json")
    write_json(sidecar, image_sidecar("x", sources=[], res=None, skull_stripped=False))
    path.touch()
    return [path, sidecar]


def outputs_of(scan: Scan, space: str, out: Path) -> tuple[ScanOutputs, list[Path]]:
    """Write empty files of all kinds that a scan has, and return where they are."""
    outputs, suffix = ScanOutputs(out, scan, space), scan.suffix
    outputs.folder.mkdir(parents=True, exist_ok=True)
    paths = [
        outputs.image(suffix, res="05", desc="preproc"),
        outputs.image(suffix, res="1", desc="preproc"),
        outputs.image("mask", res="1", desc="brain"),
        outputs.image("probseg", res="05", label="BG", desc="smooth"),
        outputs.image(suffix, res="05", label="BG", desc="roi"),
        outputs.image(suffix, res="05", label="BG", desc="saliency"),
        outputs.image(suffix, label="BG", desc="saliency"),
        outputs.image("dseg", desc="aseg"),
    ]
    files = [file for path in paths for file in image(outputs, path)]
    for path in (outputs.transform(), outputs.transform(inverse=True), outputs.scores):
        path.touch()
        files.append(path)
    write_json(outputs.scores.with_suffix(".json"), {"SoftwareVersions": "epvs-bids 1"})
    return outputs, [*files, outputs.scores.with_suffix(".json")]


def test_leftovers_are_what_earlier_runs_made_of_this_scan(tmp_path: Path) -> None:
    folder = Path("/bids/sub-01/anat")
    _, earlier = outputs_of(Scan("01", None, folder / "sub-01_PDw.nii.gz"), "MNI152NLin2009cAsym", tmp_path)
    outputs, last = outputs_of(Scan("01", None, folder / "sub-01_T2w.nii.gz"), "scanner", tmp_path)
    assert sorted(outputs.leftovers(last)) == sorted(set(earlier) - set(last))
    assert outputs.leftovers([*earlier, *last]) == []
    scores = [outputs.scores, outputs.scores.with_suffix(".json")]
    assert outputs.leftovers([path for path in (*earlier, *last) if path not in scores]) == scores


def test_leftovers_are_nothing_of_other_scans_or_of_users(tmp_path: Path) -> None:
    folder = Path("/bids/sub-01/anat")
    for other in ("sub-01_acq-a_PDw", "sub-01_run-1_PDw", "sub-01_ses-1_PDw", "sub-012_PDw"):
        labels = dict(part.split("-") for part in other.split("_")[:-1])
        scan = Scan(labels["sub"], labels.get("ses"), folder / f"{other}.nii.gz")
        outputs_of(scan, "MNI152NLin2009cAsym", tmp_path)
    outputs = ScanOutputs(tmp_path, Scan("01", None, folder / "sub-01_PDw.nii.gz"), "MNI152NLin2009cAsym")
    for name in ("notes", "space-T1w_res-1_desc-brain_mask", "desc-brain_mask", "label-BG_desc-mine_PDw"):
        write_json(
            outputs.folder / f"sub-01_{name}.json",
            {"SoftwareVersions": "epvs-bids 1"} if "mine" in name else {},
        )
    (outputs.folder / "sub-01_desc-aseg_dseg.json").write_text("{")
    write_json(outputs.folder / "sub-01_label-BG_desc-roi_PDw.json", {"SoftwareVersions": "fmriprep 24"})
    (outputs.folder / "sub-01_from-T2w_to-T1w_mode-image_xfm.txt").touch()
    assert outputs.leftovers([]) == []
