"""`python -m benchmarks [ROW …] [--fresh]`: measure rows that have no result yet, and write RESULTS.md."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks import anatomy_rows, app_rows, network_rows, report
from benchmarks.harness import measured

ROWS = {
    "forward": network_rows.forward,
    "training": network_rows.training,
    "small-network": network_rows.small_network,
    "registration": anatomy_rows.registration,
    "region": anatomy_rows.region,
    "participant": app_rows.participant,
    "segmentation": anatomy_rows.segmentation,
    "discovery": app_rows.discovery,
    "start": app_rows.start,
    "growth-participants": app_rows.growth_participants,
    "growth-group": app_rows.growth_group,
    "cuda": network_rows.cuda,
}


def main() -> None:
    """Measure what was asked for and write the results of all rows that have any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--fresh", action="store_true", help="measure even where there is a result")
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    results = {}
    for name, measure_row in ROWS.items():
        wanted = not given.rows or name in given.rows
        begun = time.monotonic()
        results[name] = measured(name, measure_row if wanted else None, fresh=given.fresh and wanted)
        if wanted:
            print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    report.write(Path(__file__).with_name("RESULTS.md"), results)


if __name__ == "__main__":
    main()
