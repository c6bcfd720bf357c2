"""The command `epvs-bids`: arguments in, exit code out."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

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
    _open_streams()
    try:
        settings = parse_arguments(arguments)
        with stoppable(), _fonts_aside():
            return _run(settings)
    except EPVSError as error:
        _say(f"epvs-bids: error: {error}\n")
        return error.exit_code
    except Stopped as stop:
        _say(f"epvs-bids: stopped ({stop}); the same command goes on from here.\n")
        return stop.exit_code
    except OSError as error:
        _say(f"epvs-bids: error: {error}\n")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
        return CannotCreateError.exit_code if full else InputOutputError.exit_code
    except ModuleNotFoundError as error:
        _say(
            f"epvs-bids: error: {error.name} is not installed for {sys.executable}. "
            "`make setup` installs everything into .venv; run .venv/bin/epvs-bids.\n"
        )
        return MissingInputError.exit_code
    except Exception as error:
        logging.getLogger(__name__).debug("%s", traceback.format_exc())
        _say(
            f"epvs-bids: unexpected error: {type(error).__name__}: {error}\n"
            "This is a fault of the program; please report it with the output of `-vv`.\n"
        )
        return EPVSError.exit_code
    finally:
        _empty_streams()


def _say(text: str) -> None:
    """Write to standard error; where nobody can read it, the exit code still tells."""
    with suppress(OSError):
        sys.stderr.write(text)


def _open_streams() -> None:
    """Open what the caller closed (`2>&-`, some daemons): files would take the numbers of the streams."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def _empty_streams() -> None:
    """Write out what is left, or drop it where nobody takes it: Python would end with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _fonts_aside() -> Iterator[None]:
    """Give matplotlib a folder for its list of fonts, which it would put into the home folder."""
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="epvs-", ignore_cleanup_errors=True) as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


def _run(settings: Settings) -> int:
    # Imported here so that --help and --version answer at once.
    from epvs_bids.progress import make_console, results_table, set_up_logging

    home = Path(os.environ.get("HOME", "/"))
    if home.is_dir() and not os.access(home, os.R_OK | os.X_OK):
        os.environ["HOME"] = tempfile.gettempdir()  # pybids looks there for its settings, and fails
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

        server.start()
    from epvs_bids.workflows.participant import run_participant

    result = run_participant(settings, console)
    if result.outcomes:
        with suppress(OSError):  # the exit code tells too
            console.print(results_table(result.outcomes))
    return result.exit_code
