from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from epvs_bids.reports.rating.cli import main


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 64, "output_dir"),
        (["{out}", "--repeats", "2"], 64, "--repeats"),
        (["{out}", "--rep", "0.5"], 64, "--rep"),
        (["{out}", "--port", "99999"], 73, "Port 99999"),
        (["{out}/nowhere"], 66, "participant"),
        (["{out}", "--bids-dir", "{out}/nowhere"], 66, "no folder"),
    ],
)
def test_errors_have_codes_and_remedies(
    output: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    given = [argument.format(out=output) for argument in arguments]
    assert main([*given, "--no-browser"] if given else []) == code
    assert text in capsys.readouterr().err


def test_served_until_stopped(output: Path) -> None:
    command = [sys.executable, "-m", "epvs_bids.reports.rating", str(output), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"3 scans to rate: (http://127\.0\.0\.1:\d+/\S{32,}/)\n", line)
        assert found, line
        with urllib.request.urlopen(found[1], timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
