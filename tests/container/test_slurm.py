"""The participant level through nipype's Slurm plugin, on a real Slurm of one node; `make slurm-test`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
ONE_NODE = str(ROOT / "tools/slurm/one_node.sh")
Head = tuple[nib.Nifti1Image, nib.Nifti1Image]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("slurmctld") is None, reason="needs Slurm and root"),
]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start Slurm and return what it puts into the environment."""
    folder = str(tmp_path / "slurm")
    command = [ONE_NODE, "start", folder]
    exports = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    try:
        yield dict(word.split("=", 1) for word in exports.split()[1:])
    finally:
        subprocess.run([ONE_NODE, "stop", folder], check=True)


def enlarge(path: Path, factor: int = 9) -> None:
    """Cut each voxel into many, so that reading the scan takes more memory than a job may have."""
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    for axis in range(3):
        data = np.repeat(data, factor, axis=axis)
    nib.save(nib.Nifti1Image(data, image.affine @ np.diag([*[1 / factor] * 3, 1.0])), path)


@pytest.mark.fault(
    "Slurm kills one of eight participants for memory",
    says="may have been killed",
    code=75,
    keeps="the results of the other seven",
)
def test_one_of_eight_is_killed_for_memory(  # noqa: PLR0917
    slurm: dict[str, str],
    head: Head,
    model: Path,
    describe_dataset: Callable[[Path], Path],
    add_scan: Callable[..., Path],
    tmp_path: Path,
) -> None:
    bids = describe_dataset(tmp_path / "bids")
    scans = [add_scan(bids, f"sub-{number:02}_PDw", head) for number in range(1, 9)]
    enlarge(scans[4])
    plugin = tmp_path / "slurm.yml"
    plugin.write_text(
        "plugin: SLURM\nplugin_args: {sbatch_args: --mem=1500M --cpus-per-task=1, max_jobs: 4}\n"
    )
    command = [sys.executable, str(ROOT / "run.py"), str(bids), str(tmp_path / "out"), "participant"]
    command += ["--use-plugin", str(plugin), "-w", str(tmp_path / "work"), "--model", str(model)]
    command += ["--template", "MNI152NLin2009aSym", "--skip-bids-validation", "--omp-nthreads", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | slurm, timeout=1500
    )
    status = [json.loads(path.read_text()) for path in sorted((tmp_path / "out/logs/scans").iterdir())]
    failed = [one for one in status if one["result"] != "scored"]
    assert [one["scan"] for one in failed] == ["sub-05_PDw"], done.stdout + done.stderr
    assert "may have been killed" in failed[0]["reason"]
    assert failed[0]["exit_code"] == done.returncode == 75
    assert "exceeded memory limit" in (tmp_path / "slurm/slurmd.log").read_text()
    assert len(list((tmp_path / "out").glob("sub-*/anat/*_scores.tsv"))) == 7
