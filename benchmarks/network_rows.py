"""The rows about networks: scoring, training, and both on a GPU."""

from __future__ import annotations

from benchmarks.harness import (
    TOOLKITS_PYTHON,
    Contender,
    Line,
    Measurement,
    Row,
    UnmeasuredError,
    alternate,
    measure,
    ratio,
)
from benchmarks.machine import rate, threads

GPU_MEMORY = 8e9
"""The paper's."""


def _products() -> list[Contender]:
    """Return matrix products by both libraries that are there; the faster one is the limit."""
    names = {"numpy": "numpy's OpenBLAS", "torch": "torch's MKL"}
    return [
        Contender(
            f"sgemm, {title}", "benchmarks.machine:matrix_product", {"threads": threads(), "library": library}
        )
        for library, title in names.items()
    ]


def _limit(found: dict[str, Measurement], operations: float) -> list[float]:
    """Return, for each round, the seconds that the operations take at the rate of the faster library."""
    best = min((found[one.name] for one in _products()), key=lambda one: one.seconds)
    return [operations / rate(seconds) for seconds in best.wall]


def _rates(found: dict[str, Measurement]) -> list[tuple[str, str]]:
    return [
        (f"{one.name}, {threads()} threads", f"{rate(found[one.name].seconds) / 1e9:.0f} GFLOP/s")
        for one in _products()
    ]


def _seconds(one: Measurement) -> str:
    return f"{one.seconds:.3g} s ({min(one.wall):.3g}–{max(one.wall):.3g}), {one.peak / 1e9:.2f} GB at most"


def forward() -> Row:
    """Measure the paper's network: ours, the limit, ONNX Runtime, OpenVINO, Keras with TensorFlow."""
    from benchmarks.networks import operations, options_named, write_for_toolkits

    work = operations(options_named("paper").architecture)
    given = {"folder": str(write_for_toolkits()), "threads": threads()}
    ours = Contender("ours", "benchmarks.networks:forward", {"name": "paper", "threads": threads()})
    others = [
        Contender(name, f"benchmarks.toolkits:{function}", given, TOOLKITS_PYTHON)
        for name, function in (
            ("ONNX Runtime", "onnx_runtime"),
            ("OpenVINO", "openvino"),
            ("Keras, TensorFlow", "keras"),
        )
    ]
    have = others if TOOLKITS_PYTHON.is_file() else []
    found = alternate([*_products(), ours, *have], runs=5)
    mine = found["ours"]
    if mine.failure:
        raise UnmeasuredError(mine.failure)
    what = "paper's network, one region, time of ours"
    limit = ratio(mine.wall, _limit(found, work))
    row = Row(
        [Line(what, f"{work / 1e9:.0f} GFLOP at the sgemm rate", str(limit), "≤ 1.15", limit.value <= 1.15)]
    )
    row.absolute.extend([*_rates(found), ("paper's network, ours", _seconds(mine))])
    row.absolute.append(("the same, first region of a process", f"{mine.first:.3g} s"))
    targets = {
        "ONNX Runtime": (1.2, "≥ 1.2"),
        "OpenVINO": (0.95, "≥ 0.95"),
        "Keras, TensorFlow": (1.0, "> 1"),
    }
    for other in have:
        _compare(row, mine, found[other.name], *targets[other.name])
    if not have:
        row.notes.append("Other toolkits were not measured: `make bench` puts them into `.venv-bench`.")
    return row


def _compare(row: Row, mine: Measurement, other: Measurement, least: float, target: str) -> None:
    """Add another toolkit's line, or why there is none."""
    if other.failure:
        row.notes.append(f"{other.name} was not measured: it {other.failure}.")
        return
    speed = ratio(other.wall, mine.wall)
    row.lines.append(
        Line("paper's network, speed of ours", other.name, str(speed), target, speed.value >= least)
    )
    row.absolute.append((f"paper's network, {other.name}", _seconds(other)))
    apart = abs(other.values[0] - mine.values[0]) / abs(mine.values[0])
    row.absolute.append((f"difference of {other.name}'s score from ours", f"{apart:.1g} relative"))


def small_network() -> Row:
    """Measure the default model against the limit for its own operations."""
    from benchmarks.networks import network_named, operations

    work = operations(network_named("default").architecture)
    given = {"name": "default", "threads": threads()}
    network = Contender("network", "benchmarks.networks:forward", given)
    whole = Contender("whole", "benchmarks.networks:score_region", given)
    found = alternate([*_products(), network, whole], runs=9)
    limit = ratio(found["network"].wall, _limit(found, work))
    against = f"{work / 1e9:.0f} GFLOP at the sgemm rate"
    row = Row([Line("default model, one region, time", against, str(limit), "≤ 1.5", limit.value <= 1.5)])
    row.absolute.append(("default model, the network alone", _seconds(found["network"])))
    row.absolute.append(("default model, as the participant level scores a region", _seconds(found["whole"])))
    return row


def training() -> Row:
    """Measure training steps of the paper's network and of the small configuration, and their memory."""
    row = Row()
    for name, title, most in (("paper", "paper's network", 3.5), ("small", "small configuration", 4.0)):
        _training(row, name, title, most)
    return row


def _training(row: Row, name: str, title: str, most: float) -> None:
    from benchmarks.networks import network_named, operations, options_named
    from epvs_bids.network.memory import training_bytes

    given = {"name": name, "threads": threads()}
    contenders = [
        Contender(kind, "benchmarks.networks:training_step", {**given, "step": kind == "step"})
        for kind in ("forward", "step")
    ]
    found = alternate([*_products(), *contenders], runs=4)
    step, once = found["step"], found["forward"]
    to_forward = ratio(step.wall, once.wall)
    work = operations(options_named(name).architecture)
    to_limit = ratio(step.wall, [3 * seconds for seconds in _limit(found, work)])
    met = to_forward.value <= most
    row.lines.append(
        Line(f"training step, {title}, time", "its forward pass", str(to_forward), f"≤ {most}", met)
    )
    row.lines.append(
        Line(f"training step, {title}, time", f"3 × {work / 1e9:.0f} GFLOP at the sgemm rate", str(to_limit))
    )
    row.absolute.append((f"forward pass in training, {title}", _seconds(once)))
    row.absolute.append((f"training step, {title}", _seconds(step)))
    computed = training_bytes(network_named(name))
    if name == "paper":
        used = f"{step.peak / 1e9:.1f} GB"
        row.lines.append(
            Line(f"memory of training, {title}", "the paper's 8 GB", used, "≤ 8 GB", step.peak < GPU_MEMORY)
        )
        again = measure(
            Contender("saved", contenders[1].factory, {**given, "checkpointing": True}), runs=2, warm_up=1
        )
        row.absolute.append((f"training step, {title}, with activation checkpointing", _seconds(again)))
    row.absolute.append((f"memory of training computed beforehand, {title}", f"{computed / 1e9:.1f} GB"))


def cuda() -> Row:
    """Measure scoring and training on a GPU, where there is one."""
    import torch

    quoted = "The paper gives 440 ms for one region on a GTX 1070."
    if not torch.cuda.is_available():
        return Row(notes=[f"CUDA: no GPU was there, so nothing was measured on one. {quoted}"])
    row = Row(notes=[f"CUDA: measured on {torch.cuda.get_device_name()}. {quoted}"])
    name = {"name": "paper", "threads": threads()}
    kinds = (
        ("one region, float32", "gpu_forward", {**name, "half": False}),
        ("one region, bfloat16", "gpu_forward", {**name, "half": True}),
        ("training step, bfloat16 autocast", "gpu_step", {**name, "checkpointing": False}),
        (
            "training step, the same with activation checkpointing",
            "gpu_step",
            {**name, "checkpointing": True},
        ),
    )
    for title, factory, given in kinds:
        found = measure(Contender(title, f"benchmarks.networks:{factory}", given), runs=10, warm_up=3)
        peak = max(value["peak"] for value in found.values) / 1e9
        scans = f", {1 / found.seconds:.1f} scans a second" if "step" in title else ""
        row.absolute.append(
            (f"CUDA: paper's network, {title}", f"{1000 * found.seconds:.1f} ms{scans}, {peak:.2f} GB")
        )
    return row
