"""The server that processes are forked from, with everything imported that they need.

It starts as early as can be: its imports take as long as those of the main process, on another core. What
needs torch is left to its processes, so that the main process need not load it.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import ParamSpec, TypeVar

from epvs_bids.errors import TryAgainError, UsageError

PRELOADED = ["epvs_bids.workflows.preload"]
"""Imported once, by the server."""

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def context() -> ForkServerContext:
    """Return the context whose processes are forked from the server."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    return found


def start() -> None:
    """Start the server and go on while it imports.

    Numerical libraries, which read their number of threads when they are loaded, get one a process: networks,
    Elastix and programs that are started are told theirs.
    """
    for variable in _THREADS:
        os.environ[variable] = "1"
    context()
    try:
        forkserver.ensure_running()
    except OSError as error:
        if "path too long" not in str(error):
            raise
        remedy = "Set TMPDIR to a folder with a shorter name"
        raise UsageError(
            f"{tempfile.gettempdir()}: too long a name for the sockets in it. {remedy}."
        ) from error


def ask(
    function: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **more: _Arguments.kwargs
) -> _Answer:
    """Call a function of a module in a process of the server's; what it raises is raised here.

    Raises
    ------
    TryAgainError
        When the process was killed.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=context()) as pool:
            return pool.submit(function, *arguments, **more).result()
    except BrokenProcessPool as error:
        remedy = "most likely there was not enough memory; try again with more"
        raise TryAgainError(f"The process of `{function.__name__}` was killed: {remedy}.") from error
