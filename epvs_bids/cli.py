"""The command `epvs-bids`: arguments in, exit code out."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from epvs_bids.arguments import parse_arguments
from epvs_bids.errors import CannotCreateError, EPVSError, InputOutputError
from epvs_bids.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from epvs_bids.progress import Outcome

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app and return its exit code.

    Parameters
    ----------
    arguments
        The words after the program's name; None for those of this process.
    """
    try:
        return _run(parse_arguments(arguments))
    except EPVSError as error:
        sys.stderr.write(f"epvs-bids: error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("epvs-bids: stopped; the same command goes on from here.\n")
        return INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"epvs-bids: error: {error}\n")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
        return CannotCreateError.exit_code if full else InputOutputError.exit_code
    except Exception as error:
        logging.getLogger(__name__).debug("%s", traceback.format_exc())
        sys.stderr.write(
            f"epvs-bids: unexpected error: {type(error).__name__}: {error}\n"
            "This is a fault of the program; please report it with the output of `-vv`.\n"
        )
        return EPVSError.exit_code


def _run(settings: Settings) -> int:
    # Imported here so that --help and --version answer at once.
    from epvs_bids.progress import make_console, set_up_logging

    os.environ["NIPYPE_NO_ET"] = "1"  # nipype would ask a server for news
    console = make_console()
    set_up_logging(console, settings.verbose)
    if settings.level == "group":
        from epvs_bids.workflows.group import run_group

        return run_group(settings)
    from epvs_bids.workflows.participant import run_participant

    return _report(run_participant(settings, console), console)


def _report(outcomes: Sequence[Outcome], console: Console) -> int:
    """Print the table of results and return the exit code that sums them up."""
    from epvs_bids.progress import results_table

    if outcomes:
        console.print(results_table(outcomes))
    return exit_code(outcomes)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 0 where all went well, the code of the troubles where they are of one kind, else 1.

    Parameters
    ----------
    outcomes
        Of all scans.
    """
    codes = {outcome.exit_code for outcome in outcomes} - {0}
    return codes.pop() if len(codes) == 1 else int(bool(codes))
