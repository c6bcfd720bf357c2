"""The Boutiques descriptor is valid, and the same as the command line."""

from __future__ import annotations

import importlib.util
import json
from importlib.resources import files
from pathlib import Path

import boutiques
import pytest

from epvs_bids.arguments import parse_arguments

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTOR = Path(str(files("epvs_bids") / "data/boutiques/epvs-bids.json"))


def test_valid() -> None:
    boutiques.validate(str(DESCRIPTOR))


def test_current() -> None:
    source = importlib.util.spec_from_file_location("make_descriptor", ROOT / "tools/make_descriptor.py")
    assert source is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    assert json.loads(DESCRIPTOR.read_text()) == module.make_descriptor(), "run tools/make_descriptor.py"


def test_an_invocation_becomes_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    invocation = {
        "bids_dir": "/data/bids",
        "output_dir": "/data/out",
        "analysis_level": "participant",
        "participant_label": ["01", "02"],
        "omp_nthreads": 2,
        "sloppy": True,
    }
    path = tmp_path / "invocation.json"
    path.write_text(json.dumps(invocation))
    boutiques.execute("simulate", str(DESCRIPTOR), "-i", str(path))
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("/run.py"))
    settings = parse_arguments(command.split()[1:])
    assert settings.participant_labels == ("01", "02")
    assert settings.omp_nthreads == min(2, settings.nprocs)
    assert settings.sloppy
