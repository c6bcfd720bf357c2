"""`RESULTS.md`: ratios first, absolute numbers with the machine beside them, then what did not help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import Row
from benchmarks.machine import describe

HEAD = """\
# Speed, side by side

Written by `make bench`. Each contender runs in a process of its own; contenders take turns, and a ratio is
the median of the rounds' ratios (least–largest). Where a row says *time*, smaller is better; *speed*, larger.
"""


def write(path: Path, rows: Mapping[str, Row]) -> None:
    """Write the results.

    Parameters
    ----------
    path
        `RESULTS.md`.
    rows
        By name, in order.
    """
    lines = [line for row in rows.values() for line in row.lines]
    missed = [line for line in lines if line.met is False]
    with_target = [line for line in lines if line.met is not None]
    text = [HEAD, f"{len(with_target) - len(missed)} of {len(with_target)} targets are met.\n", "## Ratios"]
    text += ["| what | against | result | target | met |", "| --- | --- | --- | --- | --- |"]
    words = {True: "yes", False: "**no**", None: "–"}
    text += [
        f"| {line.what} | {line.against} | {line.ratio} | {line.target or '–'} | {words[line.met]} |"
        for line in lines
    ]
    text += ["", "## Absolute numbers", "", f"On {describe()}.", ""]
    text += ["| what | median (least–largest) |", "| --- | --- |"]
    text += [f"| {what} | {value} |" for row in rows.values() for what, value in row.absolute]
    notes = [f"- {note}" for row in rows.values() for note in row.notes]
    text += ["", "## Notes", "", *notes] if notes else []
    tried = Path(__file__).with_name("tried.md").read_text(encoding="utf-8").rstrip()
    text += ["", tried, ""]
    aside = path.with_suffix(".new")
    aside.write_text("\n".join(text), encoding="utf-8")
    aside.replace(path)
