"""`make setup` recovers from what a machine lacked; a stand-in plays Python and pip."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As Debian's Python without python3-venv: a folder with Python and no pip is left, and the exit code is 1.
STAND_IN = """#!/bin/sh
for folder; do :; done
echo "$*" >>{log}
mkdir -p "$folder/bin" && touch "$folder/bin/python" && chmod +x "$folder/bin/python"
[ -e {apt}/python3-venv ] || exit 1
printf '#!/bin/sh\\necho "$*" >>{log}\\ncase "$*" in *samseg*) [ -e {apt}/g++ ] ;; esac\\n' >"$folder/bin/pip"
chmod +x "$folder/bin/pip"
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


class Checkout:
    """A folder with the Makefile, and a Python that can do what the `installed` packages allow."""

    def __init__(self, folder: Path, *installed: str) -> None:
        self.folder, self.apt, self.log = folder / "checkout", folder / "apt", folder / "log"
        self.python = folder / "python3"
        for path in (self.folder, self.apt):
            path.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "version"):
            shutil.copy(ROOT / name, self.folder)
        self.install(*installed)
        self.python.write_text(STAND_IN.format(log=self.log, apt=self.apt))
        self.python.chmod(0o755)

    def install(self, *packages: str) -> None:
        for name in packages:
            (self.apt / name).touch()

    def make(self, target: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "-C", str(self.folder), target, f"PYTHON={self.python}"]
        command.append(f"SAMSEG_PYTHON={self.python}")
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @property
    def segmenter(self) -> bool:
        return (self.folder / ".venv/bin/run_samseg").is_symlink()


def test_an_environment_left_without_pip_is_made_anew(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "g++")
    assert checkout.make("setup").returncode != 0
    checkout.install("python3-venv")
    done = checkout.make("setup")
    assert done.returncode == 0, done.stderr
    assert checkout.segmenter


def test_setup_goes_on_where_the_segmenters_python_has_no_venv(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "python3-venv", "g++")
    assert checkout.make(".venv/.installed").returncode == 0
    (checkout.apt / "python3-venv").unlink()
    done = checkout.make("setup")
    assert done.returncode == 0, done.stderr
    assert "apt-get install python3-venv python3-dev g++" in done.stdout
    assert not checkout.segmenter


def test_the_segmenter_is_tried_again_when_asked_for(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "python3-venv")
    assert "`make samseg` tries again" in checkout.make("setup").stdout
    attempts = checkout.log.read_text().count("samseg==")
    checkout.install("g++")
    checkout.make("setup")  # may be off line: it does not try
    assert checkout.log.read_text().count("samseg==") == attempts
    assert checkout.make("samseg").returncode == 0
    assert checkout.segmenter
