"""A killed process fails its node alone; stopping leaves nothing running."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow
from nipype.pipeline.plugins import SLURMPlugin
from nipype.pipeline.plugins.base import DistributedPluginBase, PluginBase

from epvs_bids.settings import Settings
from epvs_bids.stopping import Stopped, stoppable
from epvs_bids.workflows import server
from epvs_bids.workflows.engine import configure, run_graph
from epvs_bids.workflows.monitor import failure_of
from epvs_bids.workflows.plugin import ProcessPlugin, describe_death, mended


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PRELOADED", ["nipype.interfaces.utility"])


def node(body: str, name: str) -> Node:
    return Node(Function(input_names=["value"], output_names=["value"], function=body), name=name)


DOUBLE = "def run(value):\n    return 2 * value\n"
FULL = "def run(value):\n    raise OSError(28, 'No space left on device')\n"
DIE = "def run(value):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n"
SLEEP = (
    "def run(value):\n"
    "    import pathlib, subprocess\n"
    "    child = subprocess.Popen(['sleep', '600'])\n"
    "    pathlib.Path(value).write_text(str(child.pid))\n"
    "    child.wait()\n"
)


def test_killed_process_fails_its_node_and_the_others_finish(tmp_path: Path) -> None:
    workflow = Workflow("wf", base_dir=str(tmp_path))
    killed, after, first, second = (
        node(DIE, "killed"), node(DOUBLE, "after"), node(DOUBLE, "first"), node(DOUBLE, "second"),
    )  # fmt: skip
    killed.inputs.value = first.inputs.value = 3
    workflow.connect([(killed, after, [("value", "value")]), (first, second, [("value", "value")])])
    workflow.config["execution"] = {"crashdump_dir": str(tmp_path), "poll_sleep_duration": "0.1"}
    heard: list[tuple[str, str]] = []
    failures = []

    def hear(about: Node, status: str) -> None:
        heard.append((about.name, status))
        if status == "exception":
            failures.append(failure_of(about))

    plugin = ProcessPlugin({"n_procs": 2, "status_callback": hear})
    with pytest.raises(RuntimeError, match="SIGKILL"):
        workflow.run(plugin=plugin)
    assert ("killed", "exception") in heard
    assert ("second", "end") in heard
    assert ("after", "start") not in heard
    (failure,) = failures
    assert failure["exit_code"] == 75
    assert "memory" in failure["reason"]
    assert not any("root" in path.name for path in tmp_path.glob("crash*"))


def test_a_node_that_can_write_no_file_still_says_why_it_failed(tmp_path: Path) -> None:
    workflow = Workflow("wf", base_dir=str(tmp_path))
    full = node(FULL, "full")
    full.inputs.value = 3
    workflow.add_nodes([full])
    workflow.config["execution"] = {"crashdump_dir": str(tmp_path)}
    failures = []
    plugin = ProcessPlugin({"n_procs": 1, "status_callback": lambda n, _: failures.append(n)})
    with pytest.raises(RuntimeError):
        workflow.run(plugin=plugin)
    failure = failure_of(failures[-1])
    assert failure["exit_code"] == 73
    assert f"Cannot write {tmp_path / 'wf/full'}: the disk is full" in failure["reason"]


def test_stopping_ends_what_nodes_have_started(tmp_path: Path) -> None:
    workflow = Workflow("wf", base_dir=str(tmp_path))
    sleeper = node(SLEEP, "sleeper")
    sleeper.inputs.value = str(tmp_path / "pid")
    workflow.add_nodes([sleeper])
    workflow.config["execution"] = {"crashdump_dir": str(tmp_path), "poll_sleep_duration": "0.1"}

    class Stop(BaseException):
        pass

    plugin = ProcessPlugin({"n_procs": 1})
    look = plugin._get_result

    def stop_when_it_runs(taskid: int) -> dict[str, Any] | None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise Stop
        return look(taskid)

    plugin._get_result = stop_when_it_runs  # type: ignore[method-assign]
    with pytest.raises(Stop):
        workflow.run(plugin=plugin)
    is_gone(int((tmp_path / "pid").read_text()))


def is_gone(child: int) -> None:
    end = time.monotonic() + 60
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < end, "the process that the node started is still there"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_a_callback_swallows_still_ends_the_graph(number: int, tmp_path: Path) -> None:
    """Exceptions of signals get lost in finalisers and in libraries that catch everything."""
    workflow = Workflow("wf", base_dir=str(tmp_path))
    sleeper, waiting = node(SLEEP, "sleeper"), node(DOUBLE, "waiting")
    sleeper.inputs.value = str(tmp_path / "pid")
    workflow.connect(sleeper, "value", waiting, "value")
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path, level="participant", work_dir=tmp_path)
    configure(settings, tmp_path)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    plugin_get = ProcessPlugin._get_result

    def swallow(plugin: ProcessPlugin, taskid: int) -> dict[str, Any] | None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            with contextlib.suppress(BaseException):
                os.kill(os.getpid(), number)
            return None
        return plugin_get(plugin, taskid)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ProcessPlugin, "_get_result", swallow)
            with pytest.raises(Stopped), stoppable():
                run_graph(workflow, settings, lambda _node, _status: None)
    finally:
        signal.signal(signal.SIGINT, inherited)
    is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("name", ["Linear", "MultiProc"])
def test_every_plugin_hears_of_a_signal_through_its_status(name: str, tmp_path: Path) -> None:
    workflow = Workflow("wf", base_dir=str(tmp_path / "work"))
    first, second = node(DOUBLE, "first"), node(DOUBLE, "second")
    first.inputs.value = 3
    workflow.connect(first, "value", second, "value")
    (tmp_path / "plugin.yml").write_text(f"plugin: {name}\nplugin_args: {{n_procs: 1}}\n")
    settings = Settings(
        bids_dir=tmp_path,
        output_dir=tmp_path,
        level="participant",
        work_dir=tmp_path,
        plugin_file=tmp_path / "plugin.yml",
    )
    configure(settings, tmp_path)
    heard: list[tuple[str, str]] = []

    def hear(about: Node, status: str) -> None:
        heard.append((about.name, status))
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped), stoppable():
        run_graph(workflow, settings, hear)
    assert heard[0] == ("first", "start")
    assert "second" not in [name for name, _ in heard]


class Queue(DistributedPluginBase):
    """Like nipype's plugins for schedulers: jobs are sent away, and asked after."""

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self.sent: list[str] = []

    def _submit_job(self, node: Node, updatehash: bool = False) -> int:
        self.sent.append(node.name)
        return len(self.sent)

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        return None


def test_a_plugin_for_schedulers_ends_soon_after_a_signal(tmp_path: Path) -> None:
    workflow = Workflow("wf", base_dir=str(tmp_path))
    only = node(DOUBLE, "only")
    only.inputs.value = 3
    workflow.add_nodes([only])
    workflow.config["execution"] = {"crashdump_dir": str(tmp_path), "poll_sleep_duration": "0.1"}
    plugin = mended(Queue)({})
    with pytest.raises(Stopped), stoppable():
        workflow.run(plugin=plugin)
    assert plugin.sent == ["only"]
    assert mended(PluginBase) is PluginBase


def programs(folder: Path, **scripts: str) -> Path:
    """Write programs that a shell runs, and return their folder."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("answer", "level", "says"), [("exit 0", "INFO", "Cancelled"), ("echo no >&2; exit 1", "WARNING", "(no)")]
)
def test_a_stopped_run_cancels_its_jobs(  # noqa: PLR0917
    answer: str,
    level: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = programs(
        tmp_path / "bin",
        sbatch="echo Submitted batch job 7",
        squeue=f"kill -TERM {os.getpid()}; echo 7",  # the signal comes while the job runs
        scancel=f'echo "$@" > {tmp_path}/cancelled; {answer}',
    )
    monkeypatch.setenv("PATH", f"{queue}:{os.environ['PATH']}")
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setattr(logging.getLogger("epvs_bids"), "propagate", True)
    caplog.set_level("INFO", logger="epvs_bids")
    only = node(DOUBLE, "only")
    only.inputs.value = 3
    workflow = Workflow("wf", base_dir=str(tmp_path / "work"))
    workflow.add_nodes([only])
    workflow.config["execution"] = {"crashdump_dir": str(tmp_path), "poll_sleep_duration": "0.1"}
    with pytest.raises(Stopped), stoppable():
        workflow.run(plugin=mended(SLURMPlugin)(plugin_args={}))
    assert (tmp_path / "cancelled").read_text() == "7\n"
    said = {
        (one.levelname, one.getMessage())
        for one in caplog.records
        if one.name == "epvs_bids.workflows.plugin"
    }
    ((how, message),) = said
    assert how == level
    assert says in message
    assert "scancel 7" in message


def test_words_for_each_death() -> None:
    assert "not enough memory" in describe_death("segment", -signal.SIGKILL)
    assert "SIGSEGV" in describe_death("segment", -signal.SIGSEGV)
    assert "exit code 3" in describe_death("segment", 3)


def test_the_main_process_rests_while_a_node_works(tmp_path: Path) -> None:
    workflow = Workflow("wf", base_dir=str(tmp_path))
    slow = node("def run(value):\n    import time\n    time.sleep(value)\n    return value\n", "slow")
    after = node(DOUBLE, "after")
    slow.inputs.value = 4
    workflow.connect([(slow, after, [("value", "value")])])
    workflow.config["execution"] = {"crashdump_dir": str(tmp_path)}
    plugin = ProcessPlugin({"n_procs": 2})
    much = [[] for _ in range(4_000_000)]  # as a process holds that has imported a lot
    before = time.process_time()
    workflow.run(plugin=plugin)
    assert time.process_time() - before < 1
    del much
