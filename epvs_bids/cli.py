"""The command `epvs-bids`: arguments in, exit code out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from epvs_bids.arguments import parse_arguments
from epvs_bids.errors import EPVSError
from epvs_bids.settings import Settings


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


def _run(settings: Settings) -> int:
    # Imported here so that --help and --version answer at once.
    if settings.level == "group":
        from epvs_bids.workflows.group import run_group  # noqa: PLC0415

        return run_group(settings)
    from epvs_bids.workflows.participant import run_participant  # noqa: PLC0415

    return run_participant(settings)
