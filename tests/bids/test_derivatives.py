"""Names of outputs, sidecars and the files of the data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from epvs_bids.bids.boilerplate import methods_text
from epvs_bids.bids.dataset import dataset_description, write_dataset_files
from epvs_bids.bids.derivatives import ScanOutputs, image_sidecar, own_uri, raw_uri, score_dictionary
from epvs_bids.bids.scan import Scan

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
