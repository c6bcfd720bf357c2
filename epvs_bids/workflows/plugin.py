"""A Nipype plugin that runs each node in a process of its own and survives the death of any of them.

Nipype's MultiProc waits for ever for a worker that was killed (which is what an out-of-memory kill is), and
stops its workers late when it is stopped itself. Here each node has one process, in a process group of its
own: a killed one fails its node alone, memory goes back to the system after every node, and stopping the run
stops the node with all that it started (SAMSEG, `recon-all` …). MultiProc's scheduling by cores and memory
stays.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from traceback import format_exception, format_exception_only
from typing import Any

from nipype import config as nipype_config
from nipype.pipeline.plugins.base import DistributedPluginBase, PluginBase
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from epvs_bids import stopping
from epvs_bids.errors import TryAgainError
from epvs_bids.files import make_folder
from epvs_bids.workflows import server

_LOGGER = logging.getLogger(__name__)

_Node = Any  # nipype carries no types

_LOGGERS = ("epvs_bids", "nipype.workflow", "nipype.interface", "nipype.utils")

_LOOK = 0.1
"""Seconds between looks at what was asked of the run."""

_GRACE = 3.0
"""Seconds between asking a process to end and killing it."""

_CANCEL = {
    "SLURM": "scancel",
    "PBS": "qdel",
    "SGE": "qdel",
    "LSF": "bkill",
    "OAR": "oardel",
    "Condor": "condor_rm",
}
"""Commands of the schedulers that nipype has plugins for; each takes the numbers of jobs."""

_ANSWER = 60.0
"""Seconds that a scheduler has to take back its jobs."""


class _Stoppable(DistributedPluginBase):
    """Looks for a signal whenever it looks after its jobs."""

    def run(self, graph: _Node, config: _Node, updatehash: bool = False) -> None:
        with stopping.waiting_for_check():
            super().run(graph, config, updatehash=updatehash)

    def _send_procs_to_workers(self, updatehash: bool = False, graph: _Node = None) -> None:
        stopping.check()
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)

    def _local_hash_check(self, jobid: int, graph: _Node) -> bool:
        stopping.check()
        return bool(super()._local_hash_check(jobid, graph))

    def _get_result(self, taskid: int) -> Any:  # noqa: ANN401
        stopping.check()
        return super()._get_result(taskid)

    def _clean_queue(self, jobid: int, graph: _Node, result: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Give the node its traceback before the run is told of it: a full disk takes no other word.

        A traceback in one text is nipype's, of a job that left no result.
        """
        if result is not None and isinstance(result["traceback"], list):
            self.procs[jobid]._traceback = result["traceback"]
        return super()._clean_queue(jobid, graph, result=result)


class ProcessPlugin(_Stoppable, MultiProcPlugin):
    """Runs nodes in processes of their own; takes MultiProc's `plugin_args`."""

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown()  # MultiProc's own, which no node was given to
        self._context = server.context()
        self._tasks: dict[int, tuple[BaseProcess, Connection, Any]] = {}
        self._ranks: list[int] = []

    def run(self, graph: _Node, config: _Node, updatehash: bool = False) -> None:
        """Run a graph; whatever ends it, no process is left behind."""
        config["execution"]["poll_sleep_duration"] = "0"  # we wait for news instead
        gc.freeze()  # nipype collects garbage at each look at its jobs, among all that was ever imported
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            gc.unfreeze()
            self.stop()

    def _send_procs_to_workers(self, updatehash: bool = False, graph: _Node = None) -> None:
        """Send out what can start, and wait until a process has something to say, or for a signal."""
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        if self._tasks:
            wait([connection for _, connection, _ in self._tasks.values()], _LOOK)

    def stop(self) -> None:
        """End all processes with everything they started: first asked, then killed."""
        processes = [process for process, _, _ in self._tasks.values()]
        for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
            for process in processes:
                _signal_group(process, number)
            end = time.monotonic() + patience
            for process in processes:
                process.join(max(0.0, end - time.monotonic()))
            processes = [process for process in processes if process.is_alive()]
        self._tasks.clear()

    def _submit_job(self, node: _Node, updatehash: bool = False) -> int:
        self._taskid += 1
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_run_node,
            args=(node, updatehash, self._taskid, theirs, _log_levels(), nipype_config.resource_monitor),
            name=node.fullname,
        )
        process.start()
        theirs.close()
        self._tasks[self._taskid] = (process, ours, node)
        return int(self._taskid)

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        stopping.check()
        process, connection, node = self._tasks[taskid]
        alive = process.is_alive()  # asked before the pipe is: what is in it when the process is dead is all
        with contextlib.suppress(EOFError, OSError):
            while connection.poll():
                message = connection.recv()
                if isinstance(message, logging.LogRecord):
                    logging.getLogger(message.name).handle(message)
                else:
                    process.join(_GRACE)
                    return dict(message)
        if alive:
            return None
        death = TryAgainError(describe_death(node.name, process.exitcode))
        return {"result": None, "traceback": format_exception_only(death), "taskid": taskid}

    def _clear_task(self, taskid: int) -> None:
        process, connection, _ = self._tasks.pop(taskid)
        connection.close()
        _signal_group(process, signal.SIGKILL)  # what a node left running, if anything

    def _report_crash(self, node: _Node, result: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Write a crash file whose name does not hold the user's, which is nobody's business."""
        before = os.environ.get("LOGNAME")
        os.environ["LOGNAME"] = "epvs"
        try:
            return super()._report_crash(node, result=result)
        finally:
            os.environ.pop("LOGNAME") if before is None else os.environ.update(LOGNAME=before)

    def _postrun_check(self) -> None:
        self.stop()

    def _generate_dependency_list(self, graph: _Node) -> None:
        super()._generate_dependency_list(graph)
        ranks: dict[str, int] = {}
        self._ranks = [ranks.setdefault(_scan_of(node), len(ranks)) for node in self.procs]

    def _sort_jobs(self, jobids: Sequence[int], scheduler: str = "tsort") -> list[int]:
        """Finish the scans that were begun before beginning others: results come early, little lies about."""
        return sorted(jobids, key=lambda job: self._ranks[job] if job < len(self._ranks) else 0)


def mended(kind: type[PluginBase]) -> type[PluginBase]:
    """Return a plugin of nipype's that survives a job without a result, and ends soon after a signal.

    A job that was killed leaves no result file. Nipype's report of that adds a list to a text, and the error
    of that ended the whole run. What ends a run before its jobs are done cancels these.

    Parameters
    ----------
    kind
        One of nipype's plugins for schedulers.
    """
    if not issubclass(kind, DistributedPluginBase):
        return kind

    class Mended(_Stoppable, kind):
        def run(self, graph: _Node, config: _Node, updatehash: bool = False) -> None:
            try:
                super().run(graph, config, updatehash=updatehash)
            except BaseException:
                # Nipype takes a job off this list when it has its result.
                _cancel(kind.__name__.removesuffix("Plugin"), list(getattr(self, "_pending", ())))
                raise

        def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
            if result is not None and isinstance(result["traceback"], str):
                result = {**result, "traceback": result["traceback"].splitlines(keepends=True)}
            return super()._report_crash(node, result=result)

    return Mended


def _cancel(scheduler: str, jobs: Sequence[object]) -> None:
    """Ask a scheduler to take back jobs, and say so; where it does not, say which may run on."""
    if not jobs or scheduler not in _CANCEL:
        return
    command = [_CANCEL[scheduler], *map(str, jobs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER)
        complaint = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        complaint = str(error)
    if complaint:
        words = "Jobs of this run may go on (%s): look at the queue, and give `%s`."
        _LOGGER.warning(words, complaint, " ".join(command))
    else:
        _LOGGER.info("Cancelled the jobs of this run: %s.", " ".join(command))


def describe_death(name: str, exit_code: int | None) -> str:
    """Say why a process that ended without an answer did so.

    Parameters
    ----------
    name
        Name of the node.
    exit_code
        As multiprocessing gives it: negative for a signal.
    """
    if exit_code == -signal.SIGKILL:
        remedy = "most likely there was not enough memory; try a smaller --nprocs, or --mem-mb"
        return f"the process of `{name}` was killed (SIGKILL): {remedy}"
    if exit_code is not None and exit_code < 0:
        return f"the process of `{name}` died of {signal.Signals(-exit_code).name}"
    return f"the process of `{name}` ended with exit code {exit_code} and no result"


def _scan_of(node: _Node) -> str:
    """Return the part of a node's name that tells graph, participant and scan."""
    return ".".join(str(node.fullname).split(".")[:3])


def _signal_group(process: BaseProcess, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.pid is not None:
            os.killpg(process.pid, number)


def _log_levels() -> dict[str, int]:
    return {name: logging.getLogger(name).getEffectiveLevel() for name in _LOGGERS}


class _Sender(logging.Handler):
    """Hands log records to the main process."""

    def __init__(self, connection: Connection, lock: threading.Lock) -> None:
        super().__init__()
        self._connection, self._guard = connection, lock

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        with self._guard, contextlib.suppress(OSError, ValueError):
            self._connection.send(record)


def _run_node(  # noqa: PLR0917 - multiprocessing passes them by place
    node: _Node,
    updatehash: bool,
    taskid: int,
    connection: Connection,
    levels: Mapping[str, int],
    monitored: bool,
) -> None:
    """Run a node in this process and send what came of it; ends when the main process does."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["NIPYPE_NO_ET"] = "1"
    nipype_config.resource_monitor = monitored
    if monitored:  # the monitor leaves its samples in the current folder
        os.chdir(make_folder(Path(node.output_dir()).parent))
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    lock = threading.Lock()
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Sender(connection, lock)], False
        logger.setLevel(level)
    answer: dict[str, Any] = {"result": None, "traceback": None, "taskid": taskid}
    try:
        answer["result"] = node.run(updatehash=updatehash)
    except BaseException:
        answer["traceback"] = format_exception(*sys.exc_info())
    with lock:
        connection.send(answer)


def _end_with_parent(connection: Connection) -> None:
    """Wait for the other end of the pipe to close, which it does when the main process is gone."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()  # nothing is ever sent this way
    os.killpg(os.getpid(), signal.SIGKILL)
