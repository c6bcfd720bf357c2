"""The rows about the way from a scan to its region."""

from __future__ import annotations

from benchmarks.harness import Contender, Line, Measurement, Row, UnmeasuredError, alternate, ratio
from benchmarks.machine import threads

SCAN = "512×512×192"
SCAN_BYTES = 4 * 512 * 512 * 192
MOST_ERROR = 0.1
"""mm, the mean over the brain."""


def registration() -> Row:
    """Measure the rigid registration against itk-elastix as it comes: time, and error on known transforms."""
    methods = ("ours", "stock")
    given = {"threads": threads()}
    contenders = [
        Contender(kind, "benchmarks.anatomy:register", {**given, "method": kind}) for kind in methods
    ]
    found = alternate(contenders, runs=3)
    _require(found)
    ours, stock = found["ours"], found["stock"]
    speed = ratio(ours.wall, stock.wall)
    processor = ratio(ours.processor, stock.processor)
    row = Row(
        [
            Line(
                f"registration of {SCAN}, time",
                "itk-elastix as it comes",
                str(speed),
                "≤ 0.3",
                speed.value <= 0.3,
            )
        ]
    )
    row.lines.append(
        Line(f"registration of {SCAN}, processor time", "itk-elastix as it comes", str(processor))
    )
    for kind, one in found.items():
        row.absolute.append(
            (f"registration of {SCAN}, {kind}", f"{one.seconds:.1f} s, {one.peak / 1e9:.2f} GB at most")
        )
    errors = known_errors()
    met = max(errors["ours"]) < MOST_ERROR
    worst = f"{max(errors['ours']):.3f} mm"
    against = f"itk-elastix: {max(errors['stock']):.3f} mm"
    row.lines.append(
        Line("registration, mean error on known transforms, the worst", against, worst, "< 0.1 mm", met)
    )
    return row


def known_errors() -> dict[str, list[float]]:
    """Return mean errors in mm on known transforms by method."""
    from benchmarks.anatomy import KNOWN

    errors: dict[str, list[float]] = {"ours": [], "stock": []}
    for kind, values in errors.items():
        for number in range(len(KNOWN)):
            given = {"method": kind, "threads": threads(), "number": number}
            found = alternate(
                [Contender(kind, "benchmarks.anatomy:register_known", given)], runs=1, warm_up=0
            )
            _require(found)
            values.append(found[kind].values[0])
    return errors


def region() -> Row:
    """Measure the way from the scan's file to the region: read, resample, mask, crop."""
    from benchmarks.anatomy import prepared, scan_paths

    given = {"given_in": str(prepared())}
    passing = Contender(
        "one pass over the bytes", "benchmarks.anatomy:read_bytes", {"path": str(scan_paths()[0])}
    )
    ours = Contender("ours", "benchmarks.anatomy:make_region", {**given, "method": "ours"})
    found = alternate([passing, ours], runs=5)
    others = [Contender(kind, ours.factory, {**given, "method": kind}) for kind in ("scipy", "nilearn")]
    found |= alternate(others, runs=1, warm_up=0)
    _require(found)
    mine = found["ours"]
    what = f"scan of {SCAN} → region"
    above = (mine.peak - mine.before - SCAN_BYTES) / 1e9
    passes = ratio(mine.wall, found[passing.name].wall)
    row = Row([Line(f"{what}, time", passing.name, str(passes))])
    row.lines.append(Line(f"{what}, time", "3 s", f"{mine.seconds:.2f} s", "≤ 3 s", mine.seconds <= 3))
    row.lines.append(Line(f"{what}, memory above the scan", "1 GB", f"{above:.2f} GB", "≤ 1 GB", above <= 1))
    for kind in ("scipy", "nilearn"):
        share = mine.seconds / found[kind].seconds
        row.lines.append(Line(f"{what}, time", kind, f"{share:.3f}"))
        apart = abs(found[kind].values[0] / mine.values[0] - 1)
        row.absolute.append((f"difference of {kind}'s mean of the region from ours", f"{apart:.1g} relative"))
    for name, one in found.items():
        row.absolute.append((f"{what}, {name}", f"{one.seconds:.3g} s, {one.peak / 1e9:.2f} GB at most"))
    return row


def segmentation() -> Row:
    """Quote what docs/segmentation.md says of SAMSEG's options; it is not run here."""
    against = "SAMSEG as it comes (523 s of one core)"
    lines = [
        Line("segmentation, sub-01 PDw, processor time of the first level alone", against, "0.46"),
        Line("the same, Dice with SAMSEG's default", "1", "0.973"),
        Line(
            "the same, Dice with FreeSurfer's labels (sub-fs1)",
            "both levels: 0.876",
            "0.868",
            "≥ 0.866",
            True,
        ),
        Line("the same, Dice with manual labels (one scan)", "both levels: 0.854", "0.846", "≥ 0.844", True),
    ]
    note = "Segmentation: figures of docs/segmentation.md, measured with samseg 0.4a0; not run again here."
    return Row(lines, notes=[note])


def _require(found: dict[str, Measurement]) -> None:
    for one in found.values():
        if one.failure:
            raise UnmeasuredError(f"{one.name} {one.failure}")
