"""The participant level on small simulated scans: outputs, caching, faults, stopping."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from epvs_bids.bids.derivatives import SCORE_DICTIONARY
from epvs_bids.bids.validation import run_validator
from epvs_bids.cli import main
from epvs_bids.files import read_json, read_tsv

Head = tuple[nib.Nifti1Image, nib.Nifti1Image]
Add = Callable[..., Path]
Describe = Callable[[Path], Path]


@dataclass(frozen=True)
class Run:
    """A run's folders and words."""

    bids: Path
    out: Path
    work: Path
    words: tuple[str, ...]
    code: int

    def again(self, *more: str) -> int:
        return main([*self.words, *more])


@pytest.fixture(scope="module")
def run(small_bids: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("run")
    out, work = home / "out put", home / "wörk"
    options = ("-w", str(work), "--model", str(model), "--nprocs", "2", "--omp-nthreads", "1")
    words = (str(small_bids), str(out), "participant", *options)
    before = contents(small_bids)
    code = main(words)
    assert contents(small_bids) == before, "the input was written to"
    return Run(small_bids, out, work, words, code)


def contents(folder: Path) -> dict[str, tuple[int, float]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime) for path in folder.rglob("*")}


def node_results(work: Path) -> dict[str, float]:
    """When each node was last run, by name."""
    paths = work.rglob("result_*.pklz")
    return {"/".join(path.parent.parts[-4:]): path.stat().st_mtime for path in paths}


def test_every_scan_has_a_score_and_its_derivatives(run: Run) -> None:
    assert run.code == 0
    tables = sorted(run.out.glob("sub-*/**/anat/*_desc-epvs_scores.tsv"))
    assert [path.name.partition("_desc")[0] for path in tables] == ["sub-01", "sub-02_ses-1", "sub-02_ses-2"]
    table = read_tsv(tables[0])
    assert list(table.columns) == [*SCORE_DICTIONARY, "model-1", "model-2"]
    row = table.iloc[0]
    assert row["score"] == pytest.approx((row["model-1"] + row["model-2"]) / 2)
    assert row["segmentation"] == "SAMSEG"
    assert "thick slices" in row["qc_reason"]
    described = read_json(tables[0].with_suffix(".json"))
    assert set(table.columns) <= set(described)
    assert described["Preprocessing"]["registration"] is False
    region = tables[0].with_name("sub-01_space-scanner_res-05_label-BG_desc-roi_PDw.nii.gz")
    data = nib.load(region).get_fdata()
    assert data.shape == (168, 128, 84)
    assert data.min() >= 0
    assert data.max() == pytest.approx(1)
    sidecar = read_json(region.with_name(region.name.replace(".nii.gz", ".json")))
    assert sidecar["Sources"] == ["bids:raw:sub-01/anat/sub-01_PDw.nii.gz"]
    assert "0.5 mm" in sidecar["Resolution"]
    assert sidecar["SkullStripped"] is False


def test_logs_say_what_was_done(run: Run) -> None:
    assert (run.out / "sub-02.html").is_file()
    status = read_json(run.out / "logs" / "scans" / "sub-02_ses-1_T2w.json")
    assert (status["participant_id"], status["session_id"], status["result"]) == ("sub-02", "ses-1", "scored")
    settings = [read_json(path) for path in (run.out / "logs").glob("*_settings.json")]
    assert settings[0]["bids_dir"] == str(run.bids)
    messages = "".join(path.read_text() for path in (run.out / "logs").glob("*_messages.log"))
    assert "sub-02_ses-1_T2w.nii.gz will be scored" in messages
    citation = (run.out / "logs" / "CITATION.md").read_text()
    assert "SAMSEG" in citation
    assert "own space" in citation
    assert not list(run.out.rglob("*.tmp*"))


def test_output_is_valid_bids(run: Run) -> None:
    issues = run_validator(run.out)
    if issues is None:
        pytest.skip("the BIDS validator can't run here")
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_second_run_does_nothing_again(run: Run) -> None:
    nodes = {name: when for name, when in node_results(run.work).items() if not name.endswith("/write")}
    files = contents(run.out)
    assert run.again() == 0
    assert {
        name: when for name, when in node_results(run.work).items() if not name.endswith("/write")
    } == nodes
    changed = {name for name, facts in contents(run.out).items() if files.get(name) != facts}
    own = ("_settings.json", "_messages.log")
    assert not [name for name in changed if Path(name).is_file() and not name.endswith(own)]


def test_a_changed_option_recomputes_what_depends_on_it_alone(run: Run) -> None:
    before = node_results(run.work)
    assert run.again("--participant-label", "01", "--saliency", "smoothgrad", "--random-seed", "2") == 0
    changed = {
        name.split("/")[-1] for name, when in node_results(run.work).items() if before.get(name) != when
    }
    assert changed <= {"map", "write", "page_01"}
    assert "map" in changed
    sidecar = run.out / "sub-01/anat/sub-01_space-scanner_res-05_label-BG_desc-saliency_PDw.json"
    assert read_json(sidecar)["Method"] == "smoothgrad"


def test_removed_outputs_come_back(run: Run) -> None:
    shutil.rmtree(run.out / "sub-02" / "ses-2")
    assert run.again("--participant-label", "02", "--session-label", "2") == 0
    assert len(list((run.out / "sub-02/ses-2/anat").glob("*_label-BG_desc-roi_*.nii.gz"))) == 1


def test_reports_only_and_boilerplate_only(run: Run, tmp_path: Path) -> None:
    page = run.out / "sub-01.html"
    page.unlink()
    assert run.again("--reports-only", "--participant-label", "01") == 0
    assert page.is_file()
    words = [
        run.words[0],
        str(tmp_path / "out"),
        *run.words[2:],
        "--boilerplate-only",
        "--skip-bids-validation",
        "--segmentation",
        "freesurfer",
    ]
    assert main(words) == 0
    text = (tmp_path / "out" / "logs" / "CITATION.md").read_text()
    assert "segmented with FreeSurfer" in text
    assert "SAMSEG" not in text
    assert not list((tmp_path / "out").glob("sub-*"))


def test_a_model_refuses_other_regions_before_any_work(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run.again("--intensity", "percentile", "--skip-bids-validation") == 64
    assert "trained with intensity = 'maximum'" in capfd.readouterr().err


@pytest.fixture(scope="module")
def broken_bids(
    tmp_path_factory: pytest.TempPathFactory, head: Head, add_scan: Add, describe_dataset: Describe
) -> Path:
    """Six participants, broken in six ways, and a good one."""
    root = describe_dataset(tmp_path_factory.mktemp("broken") / "bids")
    image, labels = head
    data = np.asarray(image.dataobj).astype(np.float32)
    add_scan(root, "sub-good_PDw", head)
    whole = add_scan(root, "sub-truncated_PDw", head).read_bytes()
    (root / "sub-truncated/anat/sub-truncated_PDw.nii.gz").write_bytes(whole[: len(whole) // 2])
    four = np.repeat(data[..., None], 3, axis=3)
    add_scan(root, "sub-four_PDw", (nib.Nifti1Image(four, image.affine), labels))
    nan = data.copy()
    nan[30:40] = np.nan
    add_scan(root, "sub-nan_T2w", (nib.Nifti1Image(nan, image.affine), labels))
    empty = nib.Nifti1Image(np.asarray(labels.dataobj) * 0 + 2, labels.affine)
    add_scan(root, "sub-labels_T2w", (image, empty))
    add_scan(root, "sub-wrong_T2w", head).rename(root / "sub-wrong/anat/sub-other_T2w.nii.gz")
    add_scan(root, "sub-alone_T2w", head, labels=False)
    link = root / "sub-annex/anat/sub-annex_T2w.nii.gz"
    link.parent.mkdir(parents=True)
    link.symlink_to(".git/annex/objects/nothing")
    return root


def test_one_failure_never_stops_the_others(
    broken_bids: Path, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = [
        "--segmentation",
        "existing",
        "--saliency",
        "none",
        "--clean-workdir",
        "--skip-bids-validation",
    ]
    labels = ["good", "truncated", "four", "nan", "labels", "wrong", "alone", "annex", "nobody"]
    folders = [str(broken_bids), str(out), "participant", "-w", str(tmp_path / "w")]
    cores = ["--nprocs", "2", "--omp-nthreads", "1"]
    code = main([*folders, "--model", str(model), *cores, *options, "--participant-label", *labels])
    shown = capfd.readouterr().err
    assert code == 1, shown
    reasons = {
        path.stem.split("_")[0]: read_json(path)["reason"] or ""
        for path in (out / "logs/scans").glob("*.json")
    }
    assert read_json(out / "logs/scans/sub-good_PDw.json")["result"] == "scored"
    for label, words in {
        "truncated": "truncated",
        "four": "holds 3 volumes",
        "nan": "not a number",
        "labels": "basal ganglia",
        "alone": "No finished segmentation",
        "annex": "annex get",
        "wrong": "another label than its folder",
    }.items():
        assert words.lower() in reasons[f"sub-{label}"].lower(), reasons
        assert f"sub-{label}" in shown
    assert "no such participant" in shown
    assert "Traceback" not in shown
    assert len(list(out.glob("sub-*/anat/*_scores.tsv"))) == 1
    for label, words in {"wrong": "another label than its folder", "truncated": "truncated"}.items():
        page = out / f"sub-{label}.html"  # nothing was made of it, and it has a page that says why
        assert words in page.read_text()
        page.unlink()
        assert main([*folders, "--reports-only", "--participant-label", label]) == 0
        assert words in page.read_text()
    assert not list((tmp_path / "w").rglob("sub_good_PDw_wf"))  # --clean-workdir


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_ends_in_seconds_and_goes_on(
    number: int, code: int, small_bids: Path, model: Path, tmp_path: Path
) -> None:
    words = [str(small_bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w")]
    words += [
        "--model",
        str(model),
        "--participant-label",
        "01",
        "--saliency",
        "none",
        "--skip-bids-validation",
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # A test run started in the background hands down an ignored SIGINT; a user's terminal does not.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "epvs_bids", *words], stderr=subprocess.PIPE, text=True, env=environment
    )
    signal.signal(signal.SIGINT, inherited)
    assert process.stderr is not None
    for line in process.stderr:
        if "sub-01_PDw: segment" in line:
            break
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(600) == code, rest
    # Told by what it still did, not by the clock, which a busy machine slows down.
    assert not re.search(r"sub-01_PDw: (register|extract|score)", rest), rest
    assert "the same command goes on from here" in rest
    if number == signal.SIGINT:  # going on afterwards is the same
        return
    read = [when for name, when in node_results(tmp_path / "w").items() if name.endswith("/read")]
    assert main(words) == 0
    assert [when for name, when in node_results(tmp_path / "w").items() if name.endswith("/read")] == read


def test_two_runs_of_one_participant_do_not_meet(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    lock = next(run.work.rglob("participants.lock"))
    holder = (
        "import sys, time; from pathlib import Path; from epvs_bids.workflows.engine import Locks\n"
        "locks = Locks(Path(sys.argv[1])); locks.take(['01']); print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(lock.parent)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        assert run.again("--participant-label", "01") == 75
        assert "another run is working on this participant" in capfd.readouterr().err
    finally:
        process.kill()
        process.wait()


def test_a_brain_extracted_scan_is_described_as_one(
    tmp_path: Path, head: Head, add_scan: Add, describe_dataset: Describe
) -> None:
    root = describe_dataset(tmp_path / "bids")
    image, labels = head
    brain = np.asarray(image.dataobj) * (np.asarray(labels.dataobj) > 0)
    add_scan(root, "sub-01_PDw", (nib.Nifti1Image(brain, image.affine), labels))
    words = ["--model", "none", "--no-mni-registration", "--skip-bids-validation", "-w", str(tmp_path / "w")]
    assert main([str(root), str(tmp_path / "out"), "participant", *words]) == 0
    sidecars = list((tmp_path / "out/sub-01/anat").glob("*_PDw.json"))
    assert sidecars
    assert all(read_json(path)["SkullStripped"] for path in sidecars)


def test_crc_damage_is_found(tmp_path: Path, head: Head, add_scan: Add, describe_dataset: Describe) -> None:
    """Damage that leaves the stream readable is told by its checksum alone."""
    root = describe_dataset(tmp_path / "bids")
    path = add_scan(root, "sub-01_PDw", head)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # a byte of the CRC
    path.write_bytes(bytes(content))
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(bytes(content))
    words = ["--model", "none", "--no-mni-registration", "--skip-bids-validation", "-w", str(tmp_path / "w")]
    assert main([str(root), str(tmp_path / "out"), "participant", *words]) == 65
    reason = json.loads((tmp_path / "out/logs/scans/sub-01_PDw.json").read_text())["reason"]
    assert "damaged" in reason.lower() or "crc" in reason.lower()
