"""One run over a data set in which nearly every participant has something else wrong with its scan.

The folder's name holds spaces, quotes and letters beyond ASCII, and what a shell would run; there are no
`participants.tsv` and no sidecars but one, which is malformed; the sound scan's time lies in the future.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from running import KEPT, OFFLINE, Head, start

from epvs_bids.anatomy.images import load_volume


class Run(NamedTuple):
    """A run that is over."""

    code: int
    shown: str
    out: Path
    bids: Path


def damaged(path: Path, make: Callable[[bytes], bytes]) -> None:
    path.write_bytes(make(path.read_bytes()))


def with_data(path: Path, change: Callable[[np.ndarray], np.ndarray], dtype: type = np.float32) -> None:
    image = nib.load(path)
    data = change(np.asarray(image.dataobj, dtype=dtype))
    nib.save(nib.Nifti1Image(data, image.affine), path)


def contradict(path: Path) -> None:
    image = nib.load(path)
    mirrored = image.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    image.set_qform(mirrored, 1)
    nib.save(image, path)


def flip_crc(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 255]) + content[-7:]


def with_hole(data: np.ndarray) -> np.ndarray:
    data[5, 5, 5] = np.nan
    return data


def misplace(labels: Path) -> None:
    """Move the labels to where the scan is not, as those of another space may lie."""
    image = nib.load(labels)
    affine = image.affine.copy()
    affine[:3, 3] += 500
    nib.save(nib.MGHImage(np.asarray(image.dataobj), affine), labels)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("../../.git/annex/objects/XX/YY/MD5E-s1--0/MD5E-s1--0")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": lambda path: damaged(path, lambda content: content[: len(content) // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "notgzipped": lambda path: damaged(path, gzip.decompress),
    "crc": lambda path: damaged(path, flip_crc),
    "nan": lambda path: with_data(path, with_hole),
    "constant": lambda path: with_data(path, lambda data: np.full_like(data, 7)),
    "zero": lambda path: with_data(path, np.zeros_like),
    "series": lambda path: with_data(path, lambda data: np.stack([data] * 3, axis=-1)),
    "forms": contradict,
    "annexed": dangle,
    "noimage": lambda path: path.write_bytes(gzip.compress(b"DICM" * 500)),
}


@pytest.fixture(scope="module")
def run(
    head: Head,
    model: Path,
    describe_dataset: Callable[[Path], Path],
    add_scan: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    root = tmp_path_factory.mktemp("damaged")
    bids = describe_dataset(root / 'Zoë\'s "scans" $(touch pwned) `id`; 100%')
    good = add_scan(bids, "sub-good_PDw", head)
    os.utime(good, (4e9, 4e9))
    good.with_name("sub-good_PDw.json").write_text("{malformed")
    for label, damage in DAMAGES.items():
        damage(add_scan(bids, f"sub-{label}_PDw", head))
    add_scan(bids, "sub-misplaced_PDw", head)
    misplace(bids / "derivatives/samseg/sub-misplaced/seg.mgz")
    (root / "home").mkdir()
    out, work = root / "out put", root / "wörk"
    (work / "epvs-bids-0.0.1/garbage").mkdir(parents=True)
    process = start(bids, out, "participant", "-w", work, "--model", model, *OFFLINE, home=root / "home")
    shown, _ = process.communicate(timeout=1500)
    return Run(process.returncode, shown, out, bids)


@pytest.fixture
def told(run: Run, mark: pytest.Mark, request: pytest.FixtureRequest) -> None:
    """What the run says of the scan that the test's name ends in."""
    label = request.node.name.removeprefix("test_")
    status = json.loads((run.out / f"logs/scans/sub-{label}_PDw.json").read_text())
    assert mark.kwargs["says"] in status["reason"]
    assert status["exit_code"] == mark.kwargs["code"]
    assert "unexpected" not in status["reason"]
    assert not list(run.out.glob(f"sub-{label}/anat/*"))


@pytest.mark.fault("A truncated `.nii.gz`", says="truncated", code=65, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_truncated() -> None: ...


@pytest.mark.fault("An empty file", says="the file is empty", code=65, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_empty() -> None: ...


@pytest.mark.fault(
    "A `.nii.gz` that is not compressed", says="named .gz but not compressed", code=65, keeps=KEPT
)
@pytest.mark.usefixtures("told")
def test_notgzipped() -> None: ...


@pytest.mark.fault(
    "A `.nii.gz` with a wrong checksum", says="the compressed file is damaged", code=65, keeps=KEPT
)
@pytest.mark.usefixtures("told")
def test_crc() -> None: ...


@pytest.mark.fault("A voxel that is not a number", says="1 voxels are not a number", code=65, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_nan() -> None: ...


@pytest.mark.fault("A constant image", says="every voxel is 7", code=65, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_constant() -> None: ...


@pytest.mark.fault("An image of zeros", says="every voxel is 0", code=65, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_zero() -> None: ...


@pytest.mark.fault(
    "A fourth dimension with more than one volume", says="holds 3 volumes", code=65, keeps=KEPT
)
@pytest.mark.usefixtures("told")
def test_series() -> None: ...


@pytest.mark.fault(
    "qform and sform that contradict each other", says="contradict each other", code=65, keeps=KEPT
)
@pytest.mark.usefixtures("told")
def test_forms() -> None: ...


@pytest.mark.fault("A git-annex link whose content is not here", says="datalad get", code=66, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_annexed() -> None: ...


@pytest.mark.fault("Something else by the name of an image", says="this is no image", code=65, keeps=KEPT)
@pytest.mark.usefixtures("told")
def test_noimage() -> None: ...


@pytest.mark.fault(
    "Labels that lie elsewhere than the scan", says="no basal ganglia inside the scan", code=65, keeps=KEPT
)
@pytest.mark.usefixtures("told")
def test_misplaced() -> None: ...


@pytest.mark.fault(
    "qform and sform that are zero or missing",
    says="neither qform nor sform is set",
    code=0,
    keeps="the score, with a warning in its `qc_reason`",
)
@pytest.mark.parametrize("sform_code", [0, 1])
def test_zero_forms(sform_code: int, head: Head, tmp_path: Path, mark: pytest.Mark) -> None:
    image = nib.Nifti1Image(np.asarray(head[0].dataobj), None)
    header = image.header
    header["qform_code"], header["sform_code"] = 0, sform_code
    for field in ("srow_x", "srow_y", "srow_z"):
        header[field] = 0
    header["pixdim"][1:4] = 3
    content = bytearray(image.to_bytes())
    content[: header.sizeof_hdr] = header.binaryblock
    (tmp_path / "scan.nii").write_bytes(bytes(content))
    volume = load_volume(tmp_path / "scan.nii")
    assert any(mark.kwargs["says"] in warning for warning in volume.warnings)
    np.testing.assert_allclose(np.abs(volume.affine[:3, :3]), 3 * np.eye(3))


@pytest.mark.fault(
    "Many bad scans beside a good one; a malformed sidecar, no `participants.tsv`, a scan from the future",
    says="sub-good_PDw",
    code=1,
    keeps="the good scan's score, images and page; a table says what failed and why",
)
def test_good(run: Run, mark: pytest.Mark) -> None:
    scores = run.out / "sub-good/anat/sub-good_desc-epvs_scores.tsv"
    assert scores.is_file(), run.shown
    assert run.code == mark.kwargs["code"], run.shown
    assert (run.out / "sub-good.html").is_file()
    table = run.shown[run.shown.rindex("Results") :]
    assert all(f"sub-{label}_PDw" in table for label in ("good", "misplaced", *DAMAGES))
    assert "Traceback" not in run.shown


@pytest.mark.fault(
    "Paths with spaces, quotes, accents and what a shell would run",
    says="",
    code=1,
    keeps="everything; nothing is run",
)
def test_paths_are_not_for_a_shell(run: Run) -> None:
    around = run.bids.parent
    assert not list(around.rglob("pwned"))
    assert sorted(path.name for path in around.iterdir()) == sorted(
        [run.bids.name, "home", "out put", "wörk"]
    )


@pytest.mark.fault("A work folder of another version", says="", code=1, keeps="both versions' files")
def test_other_versions_work_is_left_alone(run: Run) -> None:
    work = run.out.with_name("wörk")
    assert (work / "epvs-bids-0.0.1/garbage").is_dir()
    assert len(list(work.iterdir())) == 2


def test_no_half_written_file_is_left(run: Run) -> None:
    assert not [
        path
        for path in run.out.rglob("*")
        if re.search(r"\.tmp|^\.", path.name) and path.is_file() and path.name != ".bidsignore"
    ]


def test_the_input_is_untouched(run: Run) -> None:
    assert not list(run.bids.rglob("work*"))
    assert {path.name for path in run.bids.iterdir() if not path.name.startswith("sub-")} == {
        "dataset_description.json",
        "README",
        "derivatives",
    }
