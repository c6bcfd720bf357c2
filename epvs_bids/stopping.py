"""Ctrl-C and SIGTERM (a scheduler's warning) end a run soon, wherever they arrive.

A signal's handler raises `Stopped`. Where that comes while Python runs a finaliser, or a library catches all
exceptions, it is lost; so the signal is also kept, and `check` raises it anew between the steps of a run.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """A signal ends the run; what is finished is kept.

    Parameters
    ----------
    number
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""


@dataclass
class _State:
    """What is known of signals in this process."""

    received: int | None = None
    waiting: bool = False
    owner: int = field(default_factory=os.getpid)


_state = _State()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C raise `Stopped` while the block runs, and at its end at the latest.

    A signal that this process was started to ignore stays ignored, as with `nohup`; in another thread than
    the main one, where Python can't handle signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.received, _state.waiting, _state.owner = None, False, os.getpid()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    try:
        yield
        check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.received = None


@contextmanager
def waiting_for_check() -> Iterator[None]:
    """Only keep signals while the block runs, which calls `check` often: nothing is torn in the middle."""
    _state.waiting = True
    try:
        yield
    finally:
        _state.waiting = False


def check() -> None:
    """Raise `Stopped` if a signal has arrived."""
    if _state.received is not None:
        raise Stopped(_state.received)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _state.owner:  # a forked child that has inherited this handler
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    first, _state.received = _state.received is None, _state.received or number
    # What follows the first signal is tidying up; a second Ctrl-C is somebody who will not wait for it.
    if not _state.waiting and (first or number == signal.SIGINT):
        raise Stopped(_state.received)
