"""The command `epvs-rate`: serves the page until it is stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from epvs_bids import __version__
from epvs_bids.errors import CannotCreateError, EPVSError, MissingInputError, UsageError
from epvs_bids.files import make_folder
from epvs_bids.reports.rating.scans import find_scans
from epvs_bids.reports.rating.server import RatingServer
from epvs_bids.reports.rating.store import Store


class _Parser(argparse.ArgumentParser):
    """A parser whose errors end with exit code 64, as those of `epvs-bids` do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage()}see `{self.prog} --help`.")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="epvs-rate",
        description="Count EPVS by eye on a page of this computer, blind to the automatic score.",
        epilog="Stop with Ctrl-C; the same command goes on where a rater stopped.",
        allow_abbrev=False,
    )
    parser.add_argument("output_dir", type=Path, help="what `epvs-bids … participant` wrote")
    parser.add_argument(
        "--bids-dir",
        type=Path,
        metavar="DIR",
        help="write phenotype/ and derivatives/epvs-rate/ there, where the group level looks",
    )
    parser.add_argument(
        "--repeats",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="of the scans, read twice (default: 0.2)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the order (default: 0)")
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port to use (default: any that is free)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--version", action="version", version=f"epvs-rate {__version__}")
    return parser


def build_store(output_dir: Path, *, bids_dir: Path | None, seed: int, repeats: float) -> Store:
    """Find what there is to rate.

    Raises
    ------
    MissingInputError
        When there are no scans, or no such folder.
    CannotCreateError
        When the ratings can't be written where they belong.
    """
    scans, left_out = find_scans(output_dir)
    for reason in left_out:
        logging.getLogger(__name__).warning("Not shown: %s", reason)
    if not scans:
        raise MissingInputError(
            f"{output_dir} holds no scan on the template's grid (sub-*/…/*_desc-preproc_*.nii.gz). "
            "Run `epvs-bids BIDS_DIR OUTPUT_DIR participant` first."
        )
    if bids_dir is not None and not bids_dir.is_dir():
        raise MissingInputError(f"There is no folder {bids_dir}.")
    store = Store({scan.name: scan for scan in scans}, bids_dir or output_dir, seed=seed, repeats=repeats)
    make_folder(store.folder)
    return store


def _serve(options: argparse.Namespace) -> None:
    store = build_store(
        options.output_dir, bids_dir=options.bids_dir, seed=options.seed, repeats=options.repeats
    )
    try:
        server = RatingServer(store, port=options.port)
    except (OSError, OverflowError) as error:
        reason = f"Port {options.port} can't be used ({error}). Choose another with --port."
        raise CannotCreateError(reason) from error
    with server:
        sys.stdout.write(f"{len(store.scans)} scans to rate: {server.url}\nStop with Ctrl-C.\n")
        sys.stdout.flush()
        if not options.no_browser:
            webbrowser.open(server.url)
        server.serve_forever()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C or SIGTERM; return the exit code.

    Parameters
    ----------
    arguments
        The words after the program's name; None for those of this process.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    try:
        _serve(_build_parser().parse_args(arguments))
    except KeyboardInterrupt:
        sys.stdout.write("Stopped; everything is saved.\n")
    except EPVSError as error:
        sys.stderr.write(f"epvs-rate: error: {error}\n")
        return error.exit_code
    return 0
