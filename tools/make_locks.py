#!/usr/bin/env python3
"""Lock what goes into the image: every package with its version and the hashes of its files.

Needs `uv` on the PATH. Versions come from `constraints.txt`, so that the image holds what the tests ran with.

    tools/make_locks.py [--cpu-wheel torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl]

Writes `requirements.lock` (everything but PyTorch) and, in `container/`, `torch-cuda.lock` (PyTorch as the
package index has it, with NVIDIA's libraries), `torch-cpu.lock` (PyTorch's CPU build, whose file the builder
supplies), `samseg.lock` (the embedded segmenter), `build.lock` (what builds from source) and `sbom.lock`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ["uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header"]
PLATFORM = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
ACCELERATOR = re.compile(r"^(torch|triton|nvidia-|cuda-)")
BUILD_TOOLS = ("setuptools", "wheel", "Cython>=3,<4", "numpy<2")
SBOM_TOOLS = ("cyclonedx-bom",)
SAMSEG = ("samseg==0.4a0", "numpy==1.26.4", "nibabel==5.4.2")


def resolve(requirements: Sequence[str], *, constraints: Path | None = None) -> dict[str, str]:
    """Resolve requirements (or the name of a pyproject.toml) to one locked block of lines a package."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "requirements.in"
        source.write_text("\n".join(requirements) + "\n")
        if requirements[0].endswith("pyproject.toml"):
            source = Path(requirements[0])
        pins = ["--constraint", str(constraints)] if constraints else []
        # A folder of local wheels would put this machine's hashes in place of the index's.
        environment = {key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"}
        command = [*UV, *PLATFORM, *pins, str(source)]
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    return {re.split(r"[=\[ ]", block, maxsplit=1)[0].lower(): block for block in blocks}


def write_lock(path: Path, blocks: dict[str, str], comment: str) -> None:
    """Write the blocks in alphabetical order under one line of comment."""
    text = "\n".join(blocks[name] for name in sorted(blocks))
    path.write_text(f"# Made by tools/make_locks.py. {comment}\n{text}\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(blocks)} packages")


def lock_cpu_wheel(wheel: Path) -> dict[str, str]:
    """Lock PyTorch's CPU build by the file that was tested."""
    version = wheel.name.split("-")[1]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {"torch": f"torch=={version} \\\n    --hash=sha256:{digest}"}


def main() -> None:
    """Write all locks."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--cpu-wheel", type=Path, help="PyTorch's CPU build for Python 3.11 on Linux x86-64")
    wheel = parser.parse_args().cpu_wheel
    everything = resolve([str(ROOT / "pyproject.toml")], constraints=ROOT / "constraints.txt")
    accelerator = {name: block for name, block in everything.items() if ACCELERATOR.match(name)}
    rest = {name: block for name, block in everything.items() if name not in accelerator}
    folder = ROOT / "container"
    write_lock(
        ROOT / "requirements.lock", rest, "What the app needs, but for PyTorch (container/torch-*.lock)."
    )
    write_lock(folder / "torch-cuda.lock", accelerator, "PyTorch with CUDA, as the package index has it.")
    if wheel:
        write_lock(folder / "torch-cpu.lock", lock_cpu_wheel(wheel), "The wheel goes into container/wheels/.")
    write_lock(folder / "build.lock", resolve(BUILD_TOOLS), "What builds packages that come as source.")
    write_lock(folder / "samseg.lock", resolve(SAMSEG), "The embedded segmenter.")
    write_lock(folder / "sbom.lock", resolve(SBOM_TOOLS), "What writes the software bills of materials.")


if __name__ == "__main__":
    main()
