"""Running of other programs, each in its own process, with what befell it put into words."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from epvs_bids.errors import BadDataError, MissingInputError, TryAgainError

_LOGGER = logging.getLogger(__name__)


def run_program(
    command: Sequence[str | Path], *, log: Path, threads: int = 1, variables: Mapping[str, str] | None = None
) -> None:
    """
    Run a command and wait for it; a crash or a memory kill becomes an error of this scan alone.

    Parameters
    ----------
    command
        Program and arguments.
    log
        Where its output goes; appended to.
    threads
        How many threads its libraries may use.
    variables
        Additions to the environment.

    Raises
    ------
    MissingInputError
        The program cannot be started.
    TryAgainError
        It was killed, which is mostly for lack of memory.
    BadDataError
        It failed; the message ends with its last words and names the log.
    """
    words = [str(word) for word in command]
    name = Path(words[0]).name
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    limits["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    _LOGGER.info("Running %s; its output is in %s", " ".join(words), log)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            status = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **limits, **(variables or {})},
                check=False,
            ).returncode
    except OSError as error:
        raise MissingInputError(f"{words[0]} cannot be started ({error.strerror}).") from error
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        raise TryAgainError(
            f"{name} was killed, most likely because memory ran out. Give the run more memory or fewer scans "
            f"at a time (--nprocs 1). Its output: {log}"
        )
    if status != 0:
        what = f"was stopped by signal {-status}" if status < 0 else f"ended with exit status {status}"
        raise BadDataError(f"{name} {what}: {last_words(log)} (all of its output: {log})")


def last_words(log: Path) -> str:
    """Return the last line of a program's output that says something."""
    with log.open("rb") as output:
        output.seek(max(0, log.stat().st_size - 4096))
        lines = output.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
