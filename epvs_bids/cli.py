"""The command `epvs-bids`: arguments in, exit code out."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from epvs_bids.arguments import parse_arguments
from epvs_bids.errors import CannotCreateError, EPVSError, InputOutputError, MissingInputError
from epvs_bids.settings import Settings
from epvs_bids.stopping import Stopped, stoppable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app and return its exit code.

    Parameters
    ----------
    arguments
        The words after the program's name; None for those of this process.
    """
    try:
        settings = parse_arguments(arguments)
        with stoppable():
            return _run(settings)
    except EPVSError as error:
        sys.stderr.write(f"epvs-bids: error: {error}\n")
        return error.exit_code
    except Stopped as stop:
        sys.stderr.write(f"epvs-bids: stopped ({stop}); the same command goes on from here.\n")
        return stop.exit_code
    except OSError as error:
        sys.stderr.write(f"epvs-bids: error: {error}\n")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
        return CannotCreateError.exit_code if full else InputOutputError.exit_code
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"epvs-bids: error: {error.name} is not installed for {sys.executable}. "
            "`make setup` installs everything into .venv; run .venv/bin/epvs-bids.\n"
        )
        return MissingInputError.exit_code
    except Exception as error:
        logging.getLogger(__name__).debug("%s", traceback.format_exc())
        sys.stderr.write(
            f"epvs-bids: unexpected error: {type(error).__name__}: {error}\n"
            "This is a fault of the program; please report it with the output of `-vv`.\n"
        )
        return EPVSError.exit_code


def _run(settings: Settings) -> int:
    # Imported here so that --help and --version answer at once.
    from epvs_bids.progress import make_console, results_table, set_up_logging

    os.environ["NIPYPE_NO_ET"] = "1"  # nipype would ask a server for news
    console = make_console()
    set_up_logging(console, settings.verbose)
    if settings.level == "group":
        from epvs_bids.bids.validation import refuse_inside
        from epvs_bids.workflows.group import run_group

        refuse_inside(settings.bids_dir, "output_dir", settings.output_dir)
        return run_group(settings)
    if not settings.reports_only and settings.bids_dir.is_dir():
        from epvs_bids.workflows import server

        server.start(settings.omp_nthreads)
    from epvs_bids.workflows.participant import run_participant

    result = run_participant(settings, console)
    if result.outcomes:
        console.print(results_table(result.outcomes))
    return result.exit_code
