"""The rows about the app as a whole."""

from __future__ import annotations

import sys

from benchmarks.harness import Contender, Line, Row, UnmeasuredError, alternate, measure, ratio
from benchmarks.machine import threads

SCAN = "512×512×192"
PARTICIPANTS = (1, 2, 4, 8)
ROWS = (200, 1000, 2000)


def participant() -> Row:
    """Measure the participant level on one scan of the paper's matrix, beside its two heaviest parts."""
    cores = threads()
    whole = Contender(
        "app", "benchmarks.app:participant_level", {"name": "paper-scan", "participants": 1, "threads": cores}
    )
    register = Contender("registration", "benchmarks.anatomy:register", {"method": "ours", "threads": cores})
    network = Contender("network", "benchmarks.networks:score_region", {"name": "default", "threads": cores})
    found = alternate([register, network, whole], runs=2)
    for one in found.values():
        if one.failure:
            raise UnmeasuredError(f"{one.name} {one.failure}")
    parts = [a + b for a, b in zip(found["registration"].wall, found["network"].wall, strict=True)]
    share = ratio(found["app"].wall, parts)
    largest = max(value["largest"] for value in found["app"].values) / 1000
    together = max(value["together"] for value in found["app"].values) / 1000
    what = f"participant level without segmentation, {SCAN}"
    row = Row([Line(f"{what}, time", "registration + network", str(share), "≤ 1.3", share.value <= 1.3)])
    row.lines.append(
        Line(
            f"{what}, memory of all processes together",
            "2.5 GB",
            f"{together:.2f} GB",
            "≤ 2.5 GB",
            together <= 2.5,
        )
    )
    row.absolute.append((what, f"{found['app'].seconds:.1f} s, largest process {largest:.2f} GB"))
    row.absolute.append(("its registration alone", f"{found['registration'].seconds:.1f} s"))
    row.absolute.append(("its network alone", f"{found['network'].seconds:.2f} s"))
    return row


def discovery() -> Row:
    """Measure how long the scans of 2,000 participants with two sessions take to find."""
    given = {"participants": 2000, "sessions": 2}
    everybody = Contender("all", "benchmarks.app:find", given)
    one = Contender("one", "benchmarks.app:find", {**given, "label": "1234"})
    plain = Contender("plain", "benchmarks.app:plain_layout", given)
    found = alternate([everybody, one], runs=3) | {"plain": measure(plain)}
    gain = found["plain"].seconds / found["all"].seconds
    mine, single = found["all"].seconds, found["one"].seconds
    row = Row(
        [
            Line(
                "finding the scans of 2,000 × 2, speed",
                "plain `BIDSLayout(bids_dir)`",
                f"{gain:.1f}",
                "≥ 10",
                gain >= 10,
            )
        ]
    )
    row.lines.append(Line("finding the scans of 2,000 × 2", "15 s", f"{mine:.1f} s", "≤ 15 s", mine <= 15))
    row.lines.append(
        Line("finding those of one participant of them", "2 s", f"{single:.2f} s", "≤ 2 s", single <= 2)
    )
    for name, title in (("all", "ours"), ("plain", "plain `BIDSLayout(bids_dir)`")):
        seconds, peak = found[name].seconds, found[name].peak / 1e9
        row.absolute.append(
            (f"finding the scans of 2,000 × 2, {title}", f"{seconds:.1f} s, {peak:.2f} GB at most")
        )
    return row


def start() -> Row:
    """Measure how long the app takes to say what it is."""
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "help": [sys.executable, "run.py", "--help"],
        "version": [sys.executable, "run.py", "--version"],
    }
    contenders = [
        Contender(key, "benchmarks.app:command", {"words": words}) for key, words in commands.items()
    ]
    found = alternate(contenders, runs=9)
    row = Row()
    for key in ("help", "version"):
        seconds = found[key].seconds
        row.lines.append(Line(f"`run.py --{key}`", "0.5 s", f"{seconds:.2f} s", "≤ 0.5 s", seconds <= 0.5))
    row.absolute.append(("python's own start", f"{found['python'].seconds:.3f} s"))
    return row


def growth_participants() -> Row:
    """Measure the participant level on 1, 2, 4 and 8 copies of one scan of 1 mm."""
    seconds, memory = {}, {}
    for count in PARTICIPANTS:
        given = {"name": "copies", "participants": count, "threads": threads()}
        facts = measure(Contender(str(count), "benchmarks.app:participant_level", given)).values[0]
        seconds[count], memory[count] = facts["seconds"], facts["together"] / 1000
    return _growth("participant level, scans of 1 mm", "participants", seconds, memory)


def growth_group() -> Row:
    """Measure the group level on 200, 1,000 and 2,000 participants with two sessions and three raters.

    In processor time: it is one process, and on a loaded machine the clock tells of the others.
    """
    seconds, memory = {}, {}
    for count in ROWS:
        facts = measure(Contender(str(count), "benchmarks.app:group_level", {"participants": count})).values[
            0
        ]
        seconds[count], memory[count] = facts["processor"], facts["largest"] / 1000
    return _growth("group level, processor", "participants × 2 sessions", seconds, memory)


def _growth(what: str, unit: str, seconds: dict[int, float], memory: dict[int, float]) -> Row:
    """Compare the time for each more at the large end with that at the small end."""
    counts = sorted(seconds)
    least, middle, most = counts[0], counts[-2], counts[-1]
    early = (seconds[middle] - seconds[least]) / (middle - least)
    late = (seconds[most] - seconds[middle]) / (most - middle)
    grown = memory[most] / memory[middle]
    row = Row(
        [
            Line(
                f"{what}: time of one more, from {middle} to {most}",
                f"from {least} to {middle}",
                f"{late / early:.2f}",
            )
        ]
    )
    row.lines[0] = Line(**{**vars(row.lines[0]), "target": "≤ 1.3 (linear)", "met": late <= 1.3 * early})
    row.lines.append(
        Line(f"{what}: memory at {most}", f"at {middle}", f"{grown:.2f}", "≤ 1.1 (flat)", grown <= 1.1)
    )
    for count in counts:
        row.absolute.append(
            (f"{what}, {count:,} {unit}", f"{seconds[count]:.1f} s, {memory[count]:.2f} GB at most")
        )
    return row
