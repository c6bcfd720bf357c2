"""Signals end a run wherever they arrive, also where Python or a library loses the exception."""

# ruff: noqa: PT012 - what is raised is raised at the end of a block
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids import cli
from epvs_bids.settings import Settings
from epvs_bids.stopping import Stopped, check, stoppable, waiting_for_check

SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> None:
    """A test run in the background has inherited an ignored SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


class Finaliser:
    """Gets a signal when it is thrown away, where exceptions are lost."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        send(self.number)


@SIGNALS
def test_a_signal_raises_with_the_code_of_shells(number: int, code: int) -> None:
    with pytest.raises(Stopped) as caught, stoppable():
        send(number)
        pytest.fail("went on")
    assert caught.value.exit_code == code


@SIGNALS
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_lost_in_a_finaliser_is_found_by_the_next_check(number: int, code: int) -> None:
    with pytest.raises(Stopped) as caught, stoppable():
        Finaliser(number)
        check()
    assert caught.value.exit_code == code


def test_a_signal_lost_after_the_last_check_is_found_at_the_end() -> None:
    finished = False
    with pytest.raises(Stopped), stoppable():
        try:
            send(signal.SIGTERM)
        except BaseException:
            finished = True
    assert finished


def test_while_waiting_for_check_nothing_is_torn() -> None:
    with pytest.raises(Stopped), stoppable():
        with waiting_for_check():
            send(signal.SIGTERM)
            reached = True
        assert reached
        check()


def test_tidying_up_is_not_disturbed_by_another_sigterm_but_by_ctrl_c() -> None:
    with pytest.raises(Stopped), stoppable():
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        send(signal.SIGTERM)
        with pytest.raises(Stopped):
            send(signal.SIGINT)


def test_handlers_are_put_back_and_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stoppable():
            send(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    check()


def test_a_forked_child_dies_of_the_signal() -> None:
    program = (
        "import os, signal, time\n"
        "from epvs_bids.stopping import stoppable\n"
        "with stoppable():\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        print('ready', flush=True); time.sleep(300)\n"
        "    while True:\n"
        "        os.kill(child, signal.SIGTERM) if not os.waitpid(child, os.WNOHANG)[0] else exit(7)\n"
        "        time.sleep(0.1)\n"
    )
    # The child is gone, and nothing has complained on its way: it did not raise what it has no handler for.
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 7
    assert done.stderr == ""


@SIGNALS
@pytest.mark.parametrize(
    "where", ["participant.find_scans", "participant.make_plan", "participant._write_methods"]
)
def test_a_signal_lost_outside_the_graph_ends_the_run(  # noqa: PLR0917
    where: str,
    number: int,
    code: int,
    empty_files: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before, between and after the stages that run scans."""
    from epvs_bids.workflows import participant

    step = getattr(participant, where.split(".")[1])

    def lose(*given: object, **named: object) -> object:
        try:
            send(number)
        except BaseException:
            return step(*given, **named)
        pytest.fail("there was no exception to lose")

    monkeypatch.setattr(participant, where.split(".")[1], lose)
    bids = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    words = [str(bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w"), "--model", "none"]
    assert cli.main([*words, "--no-mni-registration", "--skip-bids-validation", "--boilerplate-only"]) == code
    assert "the same command goes on from here" in capfd.readouterr().err


def test_a_signal_lost_at_the_group_level_is_not_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_: Settings) -> int:
        try:
            send(signal.SIGTERM)
        except BaseException:
            return 0
        return 1

    monkeypatch.setattr(cli, "_run", lose)
    assert cli.main([str(tmp_path), str(tmp_path / "out"), "group"]) == 143
