"""What processes find imported when they are forked from the server."""

import subprocess
import sys
from pathlib import Path

FORKED = """
import runpy, sys
import epvs_bids.workflows.preload
before = set(sys.modules)
runpy.run_path("run.py", run_name="__mp_main__")
import epvs_bids.workflows.plugin, epvs_bids.interfaces.report, epvs_bids.interfaces.score
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
"""A process imports the main program anew, and the modules of what it is sent."""


def test_a_forked_process_imports_no_library() -> None:
    """Each step of each scan would import it anew: networkx, which Nipype's plugins need, took 0.1 s."""
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, cwd=root
    )
    assert set(answer.stdout.split()) <= {"epvs_bids"}
