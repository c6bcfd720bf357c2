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


GTX_1070 = 0.440
"""Seconds that the paper gives for one region on a GTX 1070."""


def cuda() -> Row:
    """Measure scoring and training on a GPU, where there is one."""
    import torch

    quoted = "The paper gives 440 ms for one region on a GTX 1070."
    if not torch.cuda.is_available():
        return Row(notes=[f"CUDA: no GPU was there, so nothing was measured on one. {quoted}"])
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    explained = "Memory is what torch reserved; the paper's network has untrained weights."
    row = Row(notes=[f"CUDA: measured on {torch.cuda.get_device_name()}, {versions}. {quoted} {explained}"])
    kinds = [
        *[("paper", "forward", precision, False) for precision in ("float32", "tf32", "bfloat16")],
        *[("default", "forward", precision, False) for precision in ("float32", "bfloat16")],
        ("paper", "step", "tf32", False),
        *[("paper", "step", "bfloat16", checkpointing) for checkpointing in (False, True)],
        ("small", "step", "bfloat16", False),
    ]
    found = {kind: _on_gpu(*kind) for kind in kinds}
    for kind, one in found.items():
        row.absolute.append((_gpu_title(*kind), _gpu_figures(kind, one, found)))
    ours, step = found[kinds[0]], found["paper", "step", "bfloat16", False]
    share = f"{ours.seconds / GTX_1070:.2g}"
    row.lines.append(Line("CUDA: paper's network, one region, time", "the paper's GTX 1070: 440 ms", share))
    faster = ratio(found["paper", "step", "tf32", False].wall, step.wall)
    row.lines.append(Line("CUDA: training step, paper's network, speed in bfloat16", "TF32", str(faster)))
    peak = max(value["peak"] for value in step.values)
    met = peak < GPU_MEMORY
    what = "CUDA: memory of training, paper's network"
    row.lines.append(Line(what, "the paper's 8 GB", f"{peak / 1e9:.1f} GB", "≤ 8 GB", met))
    return row


def _on_gpu(network: str, kind: str, precision: str, checkpointing: bool) -> Measurement:
    given = {"name": network, "threads": threads(), "precision": precision}
    if kind == "step":
        given["checkpointing"] = checkpointing
    contender = Contender(f"{network} {precision}", f"benchmarks.networks:gpu_{kind}", given)
    return measure(contender, runs=20, warm_up=5)


def _gpu_title(network: str, kind: str, precision: str, checkpointing: bool) -> str:
    names = {"paper": "paper's network", "default": "default model", "small": "small configuration"}
    what = "one region" if kind == "forward" else "training step"
    more = ", with activation checkpointing" if checkpointing else ""
    return f"CUDA: {what}, {names[network]}, {precision}{more}"


def _gpu_figures(
    kind: tuple[str, str, str, bool],
    one: Measurement,
    all_found: dict[tuple[str, str, str, bool], Measurement],
) -> str:
    """Return time, memory, and scans a second of training or how far the score is from float32's."""
    peak = max(value["peak"] for value in one.values) / 1e9
    text = (
        f"{1000 * one.seconds:.3g} ms ({1000 * min(one.wall):.3g}–{1000 * max(one.wall):.3g}), {peak:.2f} GB"
    )
    if kind[1] == "step":
        return f"{text}, {1 / one.seconds:.1f} scans a second"
    exact = all_found[kind[0], "forward", "float32", False].values[0]["value"]
    if kind[2] == "float32":
        return text
    return f"{text}; score {abs(one.values[0]['value'] / exact - 1):.1g} from float32's"
