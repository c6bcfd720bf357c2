"""The locks of the image cover what the app needs, at the versions that the tests run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "container").glob("*.lock"))]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> dict[str, str]:
    """Return version by package of a lock file."""
    lines = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", path.read_text(), flags=re.MULTILINE)
    return {canonical(name): version for name, version in lines}


@pytest.fixture(scope="module")
def image() -> dict[str, str]:
    return read_lock(ROOT / "requirements.lock") | read_lock(ROOT / "container/torch-cuda.lock")


def test_every_dependency_is_locked(image: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonical(re.split(r"[<>=\[; ]", line)[0]) for line in project["dependencies"]}
    assert wanted <= image.keys(), "run tools/make_locks.py"


def test_versions_are_those_of_the_tests(image: dict[str, str]) -> None:
    constraints = read_lock(ROOT / "constraints.txt")
    differing = {name for name in image.keys() & constraints.keys() if image[name] != constraints[name]}
    assert not differing, "run tools/make_locks.py"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_package_has_a_hash(path: Path) -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", path.read_text())[1:]
    assert blocks
    assert [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []


def test_cpu_and_cuda_are_the_same_pytorch() -> None:
    cpu, cuda = (read_lock(ROOT / f"container/torch-{kind}.lock")["torch"] for kind in ("cpu", "cuda"))
    assert cpu.removesuffix("+cpu") == cuda
    assert cpu.endswith("+cpu")


def test_samseg_keeps_numpy_1() -> None:
    assert read_lock(ROOT / "container/samseg.lock")["numpy"].startswith("1.")
