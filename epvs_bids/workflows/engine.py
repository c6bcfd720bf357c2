"""Runs Nipype graphs as the settings say: plugin, resources, logs, one run per participant at a time."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from nipype import config
from nipype import logging as nipype_logging
from nipype.pipeline import plugins
from nipype.pipeline.engine import Workflow
from nipype.pipeline.plugins.base import DistributedPluginBase

from epvs_bids import stopping
from epvs_bids.errors import BadDataError, MissingInputError
from epvs_bids.files import cannot_create, make_folder
from epvs_bids.resources import available_memory_gb
from epvs_bids.settings import Settings
from epvs_bids.workflows.plugin import ProcessPlugin, mended

_LOGGER = logging.getLogger(__name__)

StatusCallback = Callable[[Any, str], None]


def configure(settings: Settings, log_dir: Path, *, run: str = "run") -> None:
    """Tell nipype where to write and how to behave; nothing of it asks the network.

    Parameters
    ----------
    settings
        What was asked for.
    log_dir
        Folder of crash files, and of `<run>_resources.json` with `--resource-monitor`.
    run
        The name of this run.
    """
    config.update_config(
        {
            "logging": {"log_to_file": "false", "log_directory": str(log_dir)},
            "execution": {
                "crashdump_dir": str(log_dir / "crash"),
                "crashfile_format": "txt",
                "create_report": "false",
                "check_version": "false",
                "poll_sleep_duration": "0.1",
                "hash_method": "timestamp",
                "remove_unnecessary_outputs": "false",
                "stop_on_first_crash": str(settings.stop_on_first_crash).lower(),
            },
        }
    )
    config.resource_monitor = settings.resource_monitor
    config.set("monitoring", "summary_file", str(log_dir / f"{run}_resources.json"))
    # What fails is told by our own messages; nipype's are for those who ask.
    level = (logging.CRITICAL, logging.INFO, logging.DEBUG)[min(settings.verbose, 2)]
    for logger in nipype_logging.loggers.values():
        logger.handlers, logger.propagate = list(logging.getLogger("epvs_bids").handlers), False
        logger.setLevel(level)


def run_graph(workflow: Workflow, settings: Settings, callback: StatusCallback) -> str:
    """Run a graph to its end; failed nodes do not stop those that do not depend on them.

    Parameters
    ----------
    workflow
        The graph, with its `base_dir`.
    settings
        Plugin and resources.
    callback
        Called with each node and `start`, `end` or `exception`.

    Returns
    -------
    complaint
        What nipype says at the end: of the nodes that failed, of which the callback has heard, or of its own.
    """
    stopping.check()

    def hear(node: Any, status: str) -> None:  # noqa: ANN401 - nipype's status_callback
        if status == "end" and not isinstance(plugin, DistributedPluginBase):
            stopping.check()  # Linear tells the end also of a node that a signal has cut off
        callback(node, status)
        stopping.check()

    plugin = make_plugin(settings, hear)
    try:
        workflow.run(plugin=plugin)
    except (RuntimeError, OSError, ValueError) as error:
        _LOGGER.debug("nipype: %s", error)
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]
    finally:
        stopping.check()
    return ""


def make_plugin(settings: Settings, callback: StatusCallback) -> plugins.base.PluginBase:
    """Return the plugin to run with: our own, or the one that `--use-plugin` names.

    Raises
    ------
    MissingInputError, BadDataError
        There is no such file, or it names no plugin of nipype.
    """
    given = _plugin_file(settings.plugin_file) if settings.plugin_file else {}
    arguments: dict[str, Any] = {"raise_insufficient": False, "n_procs": settings.nprocs}
    arguments["memory_gb"] = settings.mem_mb / 1024 if settings.mem_mb else 0.9 * available_memory_gb()
    arguments |= {**given.get("plugin_args", {}), "status_callback": callback}
    name = given.get("plugin", "MultiProc")
    if name in ("MultiProc", "LegacyMultiProc"):
        return ProcessPlugin(arguments)
    kind = getattr(plugins, f"{name}Plugin", None)
    if kind is None:
        known = ", ".join(sorted(one[:-6] for one in dir(plugins) if one.endswith("Plugin")))
        raise BadDataError(f"{settings.plugin_file}: nipype has no plugin {name!r}; it has {known}.")
    return mended(kind)(plugin_args=arguments)


def _plugin_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"There is no plugin file {path}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise BadDataError(f"{path} can't be read as YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("plugin_args", {}), dict):
        raise BadDataError(f"{path} should hold `plugin: NAME` and, below `plugin_args:`, its arguments.")
    for word, least in (("n_procs", 1), ("memory_gb", 0.5)):  # with less, nipype waits for ever
        value = content.get("plugin_args", {}).get(word, least)
        if not isinstance(value, (int, float)) or not value >= least:
            raise BadDataError(f"{path}: {word} is {value!r}; a number of at least {least} is expected.")
    return content


class Locks:
    """Locks of participants, so that two runs with one work folder do not work on the same one.

    All are ranges of one file: thousands of participants need one file handle.

    Parameters
    ----------
    folder
        Where the lock file lies.
    """

    def __init__(self, folder: Path) -> None:
        path = make_folder(folder) / "participants.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise cannot_create(path, error) from error

    def take(self, participants: Iterable[str]) -> set[str]:
        """Lock what can be locked, until `release`, and return the labels of those that another run holds."""
        busy = set()
        for label in participants:
            place = int(hashlib.sha256(label.encode()).hexdigest()[:12], 16)
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except BlockingIOError:
                busy.add(label)
            except OSError as error:
                _LOGGER.warning("The work folder's file system has no locks (%s): going on without.", error)
                return busy
        return busy

    def release(self) -> None:
        """Give all locks back."""
        os.close(self._descriptor)
