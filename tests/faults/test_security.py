"""Nothing is unpickled, nothing goes through a shell, nothing is sent, nothing lands outside its folder."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import OFFLINE, ROOT

from epvs_bids.cli import main

SOURCES = sorted((ROOT / "epvs_bids").rglob("*.py"))
FORBIDDEN = {
    "pickle.load", "pickle.loads", "joblib.load", "eval", "exec", "os.system", "os.popen", "yaml.load",
    "yaml.unsafe_load", "np.fromfile", "shelve.open", "marshal.loads",
}  # fmt: skip


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, node


@pytest.mark.fault(
    "Files that would run code when read (pickles)",
    says="",
    code=65,
    keeps="only safetensors, JSON, TSV, NIfTI and `weights_only` checkpoints are read",
)
def test_nothing_is_unpickled() -> None:
    for path, call in calls():
        name = ast.unparse(call.func)
        words = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in FORBIDDEN, f"{path}:{call.lineno} {name}"
        if name == "torch.load":
            assert words.get("weights_only") == "True", f"{path}:{call.lineno}"
        if name in ("np.load", "numpy.load"):
            assert words.get("allow_pickle", "False") == "False", f"{path}:{call.lineno}"


@pytest.mark.fault(
    "Labels and paths with what a shell would run", says="", code=64, keeps="no command goes through a shell"
)
def test_no_shell() -> None:
    found = 0
    for path, call in calls():
        if ast.unparse(call.func).startswith("subprocess."):
            found += 1
            words = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert words.get("shell", "False") == "False", f"{path}:{call.lineno}"
    assert found


@pytest.mark.fault(
    "Model names that lead elsewhere", says="letters, digits", code=64, keeps="nothing was begun"
)
@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "..", "", "-x", "a b"])
def test_model_names_stay_in_their_folder(name: str, tmp_path: Path, ends: Callable[..., str]) -> None:
    ends(tmp_path, tmp_path / "out", "group", "--analysis", "train", f"--model-name={name}")


@pytest.mark.fault(
    "A machine that watches what is sent",
    says="",
    code=18,
    keeps="no connection is tried, telemetry of libraries is off",
)
def test_nothing_is_sent(
    empty_files: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: pytest.Mark
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"a connection was tried: {arguments}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    bids = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    words = ["participant", "-w", str(tmp_path / "work"), *OFFLINE, "--participant-label", "99"]
    assert main([str(bids), str(tmp_path / "out"), *words]) == mark.kwargs["code"]


def test_importing_the_app_sends_nothing() -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*a): raise SystemExit('a connection was tried')\n"
        "socket.create_connection = socket.getaddrinfo = refuse\n"
        "import epvs_bids.workflows.participant, epvs_bids.workflows.group\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
