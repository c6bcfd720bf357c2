"""FreeSurfer and SynthSeg, by the commands that they would be given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from epvs_bids.anatomy.freesurfer import find_licence, freesurfer_commands, run_freesurfer
from epvs_bids.anatomy.synthseg import run_synthseg, synthseg_command
from epvs_bids.errors import BadDataError, MissingInputError

LICENCE = "me@lab.org\n12345\n *Cabcdefg\n FSabcdefg\n"

RECON_ALL = """#!/bin/sh
echo "$FS_LICENSE recon-all $*" >> "$RECORD"
while [ $# -gt 0 ]; do [ "$1" = -sd ] && sd=$2; last=$1; shift; done
mkdir -p "$sd/subject/mri"
[ "$last" = -calabel ] && touch "$sd/subject/mri/aseg.presurf.mgz"
exit 0
"""


def install(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in for a program on the PATH."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(folder / "record"))


def test_the_stages_are_those_of_the_paper_and_no_surfaces(tmp_path: Path) -> None:
    first, second = freesurfer_commands(Path("t1.nii.gz"), "s", tmp_path, threads=2)
    common = f"-s s -sd {tmp_path} -openmp 2"
    assert " ".join(first) == f"recon-all -i t1.nii.gz {common} -autorecon1 -wsthresh 10"
    assert " ".join(second) == f"recon-all {common} -gcareg -canorm -careg -calabel"


def test_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FS_LICENSE", raising=False)
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    assert find_licence(None) is None
    with pytest.raises(MissingInputError, match="no file"):
        find_licence(tmp_path / "mine.txt")
    (tmp_path / "mine.txt").write_text("hello\n")
    with pytest.raises(BadDataError, match="not a FreeSurfer licence"):
        find_licence(tmp_path / "mine.txt")
    (tmp_path / "license.txt").write_text(LICENCE)
    assert find_licence(None) == tmp_path / "license.txt"
    (tmp_path / "other.txt").write_text(LICENCE)
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "other.txt"))
    assert find_licence(None) == tmp_path / "other.txt"


def test_freesurfer_runs_both_stages_with_the_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "recon-all", RECON_ALL, monkeypatch)
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    monkeypatch.delenv("FS_LICENSE", raising=False)
    with pytest.raises(MissingInputError, match="needs a licence"):
        run_freesurfer(tmp_path / "t1.nii.gz", tmp_path / "work", licence=None)
    assert not (tmp_path / "record").exists()
    (tmp_path / "licence.txt").write_text(LICENCE)
    for _ in range(2):  # what an interrupted run left is no hindrance
        labels, reference = run_freesurfer(
            tmp_path / "t1.nii.gz", tmp_path / "work", licence=tmp_path / "licence.txt"
        )
    assert labels == tmp_path / "work" / "freesurfer" / "subject" / "mri" / "aseg.presurf.mgz"
    assert reference == labels.with_name("orig.mgz")
    lines = (tmp_path / "record").read_text().splitlines()
    assert len(lines) == 4
    assert all(line.startswith(str(tmp_path / "licence.txt")) for line in lines)


def test_freesurfer_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingInputError, match="FreeSurfer is not set up"):
        run_freesurfer(tmp_path / "t1.nii.gz", tmp_path, licence=None)
    with pytest.raises(MissingInputError, match="mri_synthseg is not on the PATH"):
        run_synthseg(tmp_path / "t2.nii.gz", tmp_path)


def test_synthseg_command() -> None:
    command = synthseg_command(Path("a.nii"), Path("b.nii.gz"), threads=4, sloppy=True)
    assert " ".join(command) == "mri_synthseg --i a.nii --o b.nii.gz --threads 4 --cpu --fast"
