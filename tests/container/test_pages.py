"""What the pages about installation, containers and clusters tell people to type does what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from epvs_bids import __version__
from epvs_bids.analyses.learning_curve import SIZES
from epvs_bids.analyses.options import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = (ROOT / "docs/hpc.md").read_text()
BUILT = {"base", "full", "$(cat version)"}
# Stands for Singularity: leaves a file in the work folder, and goes on until Slurm's warning comes.
SINGULARITY = """#!/bin/bash
trap 'echo stopped >>{log}; exit 143' TERM
work=$(grep -o '[^, ]*:/work' <<<"$*")
touch "${{work%:/work}}/intermediate" && echo "${{work%:/work}}" >{log}
for _ in $(seq 600); do sleep 0.1; done
"""


def blocks(language: str, having: str) -> list[str]:
    """Return the code blocks of the clusters' page in one language that have a text."""
    return [code for code in re.findall(rf"```{language}\n(.*?)```", CLUSTER, re.DOTALL) if having in code]


@pytest.mark.parametrize("page", ["README.md", "docs/containers.md", "docs/hpc.md", "Singularity"])
def test_images_are_called_as_they_are_built(page: str) -> None:
    text = (ROOT / page).read_text()
    assert set(re.findall(r"(?<![\w/])epvs-bids:(\$\(cat version\)|[\w.]+)", text)) <= BUILT
    assert not re.findall(r"epvs-bids /bids", text)


def test_the_descriptor_asks_for_a_tag_that_is_built() -> None:
    descriptor = json.loads((Path(str(files("epvs_bids"))) / "data/boutiques/epvs-bids.json").read_text())
    assert descriptor["container-image"]["image"] == f"epvs-bids:{__version__}"
    assert (ROOT / "version").read_text().strip() == __version__
    for page in ("README.md", "docs/containers.md"):
        assert '--target base -t epvs-bids:base -t "epvs-bids:$(cat version)"' in (ROOT / page).read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/containers.md"])
def test_mounted_folders_are_absolute(page: str) -> None:
    """Docker takes a relative one for the name of a volume, and mounts that, empty."""
    mounts = re.findall(r" -v \"?(\S+?):/", (ROOT / page).read_text())
    assert mounts
    assert [mount for mount in mounts if not mount.startswith(("/", "$PWD/"))] == []


def test_slurms_warning_goes_to_the_script_alone() -> None:
    assert re.findall(r"--signal=(?!B:)\S+", CLUSTER) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_an_array_job_passes_the_warning_on_and_removes_its_work_folder(tmp_path: Path) -> None:
    script, log = tmp_path / "epvs.sh", tmp_path / "log"
    (array,) = blocks("bash", "--array=1-200")
    script.write_text(array)
    stand_in = tmp_path / "singularity"
    stand_in.write_text(SINGULARITY.format(log=log))
    stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_TMPDIR": str(tmp_path)}
    environment |= {"SLURM_ARRAY_TASK_ID": "1", "SLURM_CPUS_PER_TASK": "2", "SLURM_MEM_PER_NODE": "8000"}
    job = subprocess.Popen(["bash", str(script)], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (log.exists() and log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    work = Path(log.read_text().strip())
    assert (work / "intermediate").exists()
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == 128 + signal.SIGTERM
    assert log.read_text().splitlines()[1:] == ["stopped"]
    assert not work.exists()


def test_the_array_of_a_learning_curve_has_all_its_runs() -> None:
    (curve,) = blocks("bash", "--analysis learning-curve")
    last = re.search(r"--array=0-(\d+)", curve)
    assert last is not None
    assert int(last[1]) + 1 == len(SIZES) * TrainingSettings().repeats * 2


def test_datalad_keeps_the_work_folder_out_of_the_data_set() -> None:
    (recorded,) = blocks("bash", "datalad run")
    assert "work=$(mktemp -d)" in recorded
    assert re.search(r" -w /work\b", recorded)


def test_babs_wraps_what_the_app_writes_into_the_output_folder() -> None:
    (text,) = blocks("yaml", "zip_foldernames")
    configuration = yaml.safe_load(text)
    assert configuration["all_results_in_one_zip"] is True
    assert configuration["zip_foldernames"] == {"epvs": __version__.replace(".", "-")}
