"""The estimate of the time left, and what is shown of a scan."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from epvs_bids.errors import MissingInputError
from epvs_bids.progress import (
    Estimate,
    Outcome,
    Progress,
    describe,
    duration,
    log_file,
    results_table,
)


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_estimate_learns_from_what_was_seen() -> None:
    clock = Clock()
    estimate = Estimate({"read": 1.0, "segment": 100.0}, scans=4, slots=2, clock=clock)
    assert estimate.seconds_left() == pytest.approx(4 * 101 / 2)
    estimate.end("a", "read")  # cached: tells nothing about time
    estimate.start("a", "segment")
    clock.now = 40.0
    assert estimate.seconds_left() == pytest.approx((3 * 1 + 4 * 100 - 40) / 2)
    estimate.end("a", "segment")
    assert estimate.seconds_left() == pytest.approx((3 * 1 + 3 * 40) / 2)
    estimate.give_up("b", "read")
    assert estimate.seconds_left() == pytest.approx((2 * 1 + 2 * 40) / 2)


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (89, "89 s"), (400, "7 min"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_plain_lines_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="epvs_bids")
    console = Console(file=io.StringIO())
    with Progress(["a", "b"], {"read": 1.0, "write": 1.0}, slots=1, console=console) as progress:
        progress.start("a", "read")
        progress.end("a", "read")
        progress.finish("a", Outcome("a", "scored", 3.21, 0.44))
        progress.finish("b", Outcome("b", "failed", reason="no good"), stage="read")
    assert "a: 3.2 ± 0.4 EPVS (1 of 2 scans" in caplog.text
    assert "b: no good" in caplog.text
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_live_display_names_scan_and_stage() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Progress(["a", "b"], {"read": 1.0, "write": 1.0}, slots=1, console=console) as progress:
        progress.start("a", "read")
        console.print(progress._render())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "read" in shown
    assert "0 of 2 scans" in shown


def test_table_shows_score_or_reason_and_no_markup() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(
        results_table([Outcome("sub-01_PDw", "scored", 7.0), Outcome("[red]x", "failed", reason="NaN")])
    )
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert any("sub-01_PDw" in line and "7.0 EPVS" in line for line in lines)
    assert any("[red]x" in line and "failed" in line and "NaN" in line for line in lines)


def test_no_minus_before_a_zero() -> None:
    assert describe(Outcome("a", "scored", -0.01, 0.02)) == "0.0 ± 0.0 EPVS"


def test_scan_without_a_model_is_made_not_scored() -> None:
    assert describe(Outcome("a", "made")) == "region made"


def test_log_file_holds_messages_and_the_error_that_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever else listens, such as pytest, may not be able to pass such a name on.
    monkeypatch.setattr(logging.getLogger("epvs_bids"), "propagate", False)
    monkeypatch.setattr(logging.getLogger("epvs_bids"), "handlers", [])
    logger = logging.getLogger("epvs_bids.anything")
    path = tmp_path / "logs" / "run_messages.log"

    def run() -> None:
        with log_file(path):
            logger.warning("%s is taken", "\udcff")
            raise MissingInputError("There is no model.")

    with pytest.raises(MissingInputError):
        run()
    logger.warning("after the run")
    first, last = path.read_text().splitlines()
    assert first.endswith("WARNING \\udcff is taken")
    assert last.endswith("ERROR MissingInputError: There is no model.")


def test_a_full_disk_does_not_end_the_run_with_its_log(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = logging.getLogger("epvs_bids")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "full").symlink_to("/dev/full")
    (tmp_path / "logs" / "folder").mkdir()
    for name in ("full", "folder"):
        with log_file(tmp_path / "logs" / name):
            logger.warning("of %s", name)
    with log_file(tmp_path / "nowhere" / "logs" / "run"):
        pass
    assert not (tmp_path / "nowhere").exists()
    assert "Logging error" not in "".join(capfd.readouterr())
    assert caplog.text.count("a folder of that name is in the way") == 1
    assert "of full" in caplog.text
    assert "of folder" in caplog.text
