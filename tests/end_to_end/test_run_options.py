"""Options that change how the graph is run, not what it computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.cli import main

REGIONS_ONLY = ("--model", "none", "--no-mni-registration", "--skip-bids-validation", "--nprocs", "1")


@pytest.fixture(scope="module")
def bids(scans_in: Callable[..., Path]) -> Path:
    """Two participants, the first without a whole scan."""
    root = scans_in("sub-01_PDw", "sub-02_PDw")
    broken = root / "sub-01/anat/sub-01_PDw.nii.gz"
    broken.write_bytes(broken.read_bytes()[:5000])
    return root


def run(bids: Path, folder: Path, *words: object) -> tuple[int, dict[str, str]]:
    """Run, and return the exit code with what became of each scan."""
    folders = (bids, folder / "out", "participant", "-w", folder / "work")
    code = main([str(word) for word in (*folders, *REGIONS_ONLY, *words)])
    statuses = [json.loads(path.read_text()) for path in (folder / "out/logs/scans").glob("*.json")]
    return code, {status["scan"]: status["result"] for status in statuses}


def test_graph_and_resources_are_written(bids: Path, tmp_path: Path) -> None:
    before = set(Path.cwd().glob(".proc-*"))
    code, results = run(bids, tmp_path, "--participant-label", "02", "--write-graph", "--resource-monitor")
    assert (code, results) == (0, {"sub-02_PDw": "made"})
    drawn = next((tmp_path / "work").rglob("graph*.dot"))
    assert "extract" in drawn.read_text()
    (measured,) = (tmp_path / "out/logs").glob("*_resources.json")
    table = json.loads(measured.read_text())
    assert {"read", "segment", "extract"} <= {name.split(".")[-1] for name in table["name"]}
    assert len(table["name"]) == len(table["rss_GiB"])
    assert 0.01 < max(table["rss_GiB"]) < 20
    assert set(Path.cwd().glob(".proc-*")) == before


def test_stop_on_first_crash(bids: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, results = run(bids, tmp_path, "--stop-on-first-crash")
    assert code in (1, 65)
    assert results == {"sub-01_PDw": "failed", "sub-02_PDw": "stopped"}
    shown = capfd.readouterr().err
    assert "the same command goes on from here" in shown
    assert "--stop-on-first-crash" in shown
    assert "Traceback" not in shown


def test_another_plugin(bids: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "plugin.yml"
    plugin.write_text("plugin: Linear\n")
    code, results = run(bids, tmp_path, "--use-plugin", plugin)
    assert code == 65
    assert results == {"sub-01_PDw": "failed", "sub-02_PDw": "made"}
    assert "truncated" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 66, "no plugin file"),
        ("plugin: Nothing\n", 65, "nipype has no plugin 'Nothing'; it has"),
        ("plugin: [", 65, "can't be read as YAML"),
        ("- a\n", 65, "should hold `plugin: NAME`"),
        ("plugin: MultiProc\nplugin_args: {n_procs: 0}\n", 65, "n_procs is 0; a number of at least 1"),
        ("plugin_args: {memory_gb: 1e-3}\n", 65, "memory_gb is '1e-3'"),
    ],
)
def test_plugin_files_that_cannot_be_used(  # noqa: PLR0917
    content: str | None, code: int, words: str, bids: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "plugin.yml"
    if content is not None:
        plugin.write_text(content)
    assert run(bids, tmp_path, "--participant-label", "02", "--use-plugin", plugin)[0] == code
    assert words in capfd.readouterr().err
