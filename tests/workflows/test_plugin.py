"""A killed process fails its node alone; stopping leaves nothing running."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow

from epvs_bids.files import read_json
from epvs_bids.interfaces.base import FAILURE
from epvs_bids.workflows import plugin as plugin_module
from epvs_bids.workflows.plugin import ProcessPlugin, describe_death


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module, "PRELOADED", ["nipype.interfaces.utility"])


def node(body: str, name: str) -> Node:
    return Node(Function(input_names=["value"], output_names=["value"], function=body), name=name)


DOUBLE = "def run(value):\n    return 2 * value\n"
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
    plugin = ProcessPlugin(
        {"n_procs": 2, "status_callback": lambda n, status: heard.append((n.name, status))}
    )
    with pytest.raises(RuntimeError, match="SIGKILL"):
        workflow.run(plugin=plugin)
    assert ("killed", "exception") in heard
    assert ("second", "end") in heard
    assert ("after", "start") not in heard
    failure = read_json(tmp_path / "wf" / "killed" / FAILURE)
    assert failure["exit_code"] == 75
    assert "memory" in failure["reason"]
    assert not any("root" in path.name for path in tmp_path.glob("crash*"))


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
    child = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 60
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < end, "the process that the node started is still there"
        time.sleep(0.1)


def test_words_for_each_death() -> None:
    assert "not enough memory" in describe_death("segment", -signal.SIGKILL)
    assert "SIGSEGV" in describe_death("segment", -signal.SIGSEGV)
    assert "exit code 3" in describe_death("segment", 3)
