"""Dockerfile, Singularity definition and their common steps agree with each other and with the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SINGULARITY = (ROOT / "Singularity").read_text()
SCRIPTS = [".ci/run", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("[ct]o*/**/*.sh"))]


def docker_steps() -> list[str]:
    return re.findall(r"^RUN /src/container/install\.sh ([a-z-]+)", DOCKERFILE, flags=re.MULTILINE)


def test_singularity_takes_the_steps_of_base() -> None:
    loop = re.search(r"for step in (.*?); do", SINGULARITY)
    assert loop is not None
    steps = [step.split()[0].strip('"') for step in re.findall(r'"[^"]*"|\S+', loop[1])]
    assert steps == [step for step in docker_steps() if not step.startswith("freesurfer")]


def test_every_step_exists() -> None:
    known = re.findall(r"^  ([a-z-]+)\)", (ROOT / "container/install.sh").read_text(), flags=re.MULTILINE)
    assert set(docker_steps()) <= set(known)


def test_singularity_sets_the_environment_of_base() -> None:
    base = DOCKERFILE.split("AS base", 1)[1].split("AS full", 1)[0]
    docker = dict(re.findall(r"^(?:ENV)?\s+([A-Z_]+)=(\S+?)(?: \\)?$", base, flags=re.MULTILINE))
    singularity = dict(
        re.findall(r"([A-Z_]+)=(\S+)", SINGULARITY.split("%environment", 1)[1].split("%run", 1)[0])
    )
    # Singularity has a home folder and passes the GPU by --nv.
    own = {
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }
    assert {name: value for name, value in docker.items() if name not in own} == singularity


def test_every_copied_file_is_in_the_repository() -> None:
    copied = re.findall(r"^COPY (?:--chmod=\d+ )?(?!--)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources
    assert [source for source in sources if not list(ROOT.glob(source))] == []
    ignored = (ROOT / ".dockerignore").read_text()
    assert all(f"!{source.split('/')[0]}\n" in ignored for source in sources)


def test_any_user_can_run_the_app_whatever_the_permissions_of_the_checkout() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) /$", DOCKERFILE, flags=re.MULTILINE)
    assert copied == ["--chmod=755 run.py version"]
    assert "    chmod 755 /run.py /version\n" in SINGULARITY


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint() -> None:
    subprocess.run(["hadolint", "Dockerfile"], cwd=ROOT, check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck(script: str) -> None:
    subprocess.run(["shellcheck", script], cwd=ROOT, check=True)


def test_hash_mismatch_is_refused_by_the_installer() -> None:
    """Each pip install of third-party files demands hashes and takes no dependency that is not locked."""
    text = (ROOT / "container/install.sh").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip\" install .*|pip install .*", text)
    assert len(installs) == 2
    locked, app = installs
    assert "--require-hashes" in locked
    assert "--no-deps" in locked
    assert app.endswith('"$SOURCE"')
    assert "--no-deps" in app


def test_a_failed_build_is_not_followed_by_a_run_of_the_old_image(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("debootstrap", "podman", "runc", "python"):
        stand_in = tmp_path / name
        stand_in.write_text(
            f'#!/bin/sh\necho "{name} $*" >>{log}\ncase "$*" in *" build "*) exit 1 ;; esac\n'
        )
        stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EPVS_PYTHON": "python"}
    environment |= {"EPVS_IMAGE_STORAGE": str(tmp_path / "storage"), "PIP_FIND_LINKS": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "container/test_image.sh"], env=environment, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert " build " in log.read_text().splitlines()[-1]


def test_the_atlas_comes_with_the_notices_of_what_it_is_made_from() -> None:
    notice = ROOT / "epvs_bids/data/anatomy/NOTICE"
    for holder in ("Koen Van Leemput", "Louis Collins, McConnell Brain Imaging Centre"):
        assert holder in notice.read_text()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert str(notice.relative_to(ROOT)) in settings["project"]["license-files"]
    packaged = settings["tool"]["setuptools"]["package-data"]["epvs_bids"]
    assert any(notice in (ROOT / "epvs_bids").glob(pattern) for pattern in packaged)
