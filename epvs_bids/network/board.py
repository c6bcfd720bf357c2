"""An epoch's numbers, for TensorBoard and for the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

NAMES = ("loss/training", "loss/validation", "icc/validation", "learning_rate", "seconds")


class Board:
    """Writes the history of a run for TensorBoard.

    Parameters
    ----------
    folder : Path
        Gets the events.
    first : int
        The next epoch; events from it on, of a run that was killed, are hidden.
    """

    def __init__(self, folder: Path, first: int) -> None:
        # Imports tensorboard, which takes a second: only where a network is trained.
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first)

    def add(self, row: Sequence[float]) -> None:
        """Write one row of `epvs_bids.network.state.HISTORY_COLUMNS`."""
        for name, value in zip(NAMES, row[1:], strict=True):
            self._writer.add_scalar(name, value, int(row[0]))

    def close(self) -> None:
        """Flush to disk."""
        self._writer.close()


def report(history: Sequence[Sequence[float]], *, epochs: int, ended: bool) -> None:
    """Log the last epoch of a history, with the time that is left at most."""
    row = history[-1]
    recent = [past[5] for past in history[-5:]]
    left = 0.0 if ended else (epochs - row[0]) * sum(recent) / len(recent)
    logger.info(
        "Epoch %d of at most %d: training loss %.3g, validation %.3g, ICC %.3f, %.0f s; at most %s left.",
        row[0],
        epochs,
        row[1],
        row[2],
        row[3],
        row[5],
        _duration(left),
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
