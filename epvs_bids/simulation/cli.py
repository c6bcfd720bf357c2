"""`epvs-simulate OUT --participants N`: a BIDS data set of simulated people with known EPVS."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from epvs_bids import __version__
from epvs_bids.errors import EPVSError, UsageError
from epvs_bids.resources import available_cores
from epvs_bids.simulation.cohort import CohortSettings, simulate_cohort
from epvs_bids.simulation.writing import whole_dataset
from epvs_bids.stopping import Stopped, stoppable


class _Parser(argparse.ArgumentParser):
    """A parser that ends with exit code 64 instead of argparse's 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(UsageError.exit_code, f"{self.prog}: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `epvs-simulate`."""
    defaults = CohortSettings()
    parser = _Parser(prog="epvs-simulate", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the data set; must not exist or be empty")
    parser.add_argument("--participants", type=_positive, default=defaults.participants, metavar="N")
    parser.add_argument("--sessions", type=int, choices=(1, 2), default=1, help="2 for a rescan")
    parser.add_argument("--rescanned", type=_positive, metavar="N", help="participants with a rescan (all)")
    parser.add_argument("--contrasts", nargs="+", choices=("PDw", "T2w", "T1w"), default=["PDw"])
    parser.add_argument(
        "--voxel-size", nargs=3, type=_length, default=defaults.voxel_size, metavar=("X", "Y", "Z"), help="mm"
    )
    parser.add_argument("--mean-count", type=_mean, default=defaults.mean_count, help="EPVS at 65 years")
    parser.add_argument("--rate-ratio", type=_ratio, default=defaults.rate_ratio, help="per decade of age")
    parser.add_argument("--seed", type=_seed, default=0)
    parser.add_argument("--nprocs", type=_positive, default=available_cores(), help="people at a time")
    parser.add_argument("--version", action="version", version=f"epvs-simulate {__version__}")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 on")
    return value


def _between(text: str, least: float, most: float, unit: str = "") -> float:
    value = float(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text}{unit} is not between {least:g} and {most:g}")
    return value


def _length(text: str) -> float:
    return _between(text, 0.3, 6, " mm")


def _mean(text: str) -> float:
    return _between(text, 0, 100)


def _ratio(text: str) -> float:
    return _between(text, 0.1, 10)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = CohortSettings(
        participants=options.participants,
        sessions=options.sessions,
        rescanned=options.rescanned,
        contrasts=tuple(options.contrasts),
        voxel_size=tuple(options.voxel_size),
        mean_count=options.mean_count,
        rate_ratio=options.rate_ratio,
        seed=options.seed,
    )
    try:
        with stoppable(), whole_dataset(options.out) as folder:
            scans = simulate_cohort(folder, settings, processes=min(options.nprocs, options.participants))
    except EPVSError as error:
        sys.stderr.write(f"epvs-simulate: {error}\n")
        return error.exit_code
    except Stopped as stop:
        sys.stderr.write(f"epvs-simulate: stopped ({stop}); nothing is left in {options.out}.\n")
        return stop.exit_code
    sys.stdout.write(
        f"{options.out}: {len(scans)} sessions of {options.participants} simulated participants\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
