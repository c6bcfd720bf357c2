"""The paper's network in ONNX Runtime, OpenVINO and Keras; runs in `.venv-bench`, without epvs_bids."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

STAGES = (4, 4, 1)
"""Convolutions between the poolings."""

Weights = Mapping[str, np.ndarray]


def _inputs(folder: str) -> tuple[Weights, np.ndarray]:
    with np.load(Path(folder) / "weights.npz") as stored:
        weights = {name: stored[name] for name in stored.files}
    return weights, np.load(Path(folder) / "region.npy")


def _convolutions(weights: Weights) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Return (kernel, bias) of each layer, stage by stage."""
    names = [[f"blocks.{s}.{k}.convolution" for k in range(count)] for s, count in enumerate(STAGES)]
    return [[(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in stage] for stage in names]


def _dense(weights: Weights) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (matrix, bias) of the dense layers."""
    return [(weights[f"head.layers.{k}.weight"], weights[f"head.layers.{k}.bias"]) for k in (0, 2, 4)]


def _onnx_model(weights: Weights, shape: tuple[int, ...]) -> bytes:
    """Write the network as an ONNX graph."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    tensors: list[Any] = []

    def add(kind: str, *arrays: np.ndarray, **options: object) -> None:
        names = [f"w{len(tensors) + k}" for k in range(len(arrays))]
        tensors.extend(numpy_helper.from_array(a, name) for a, name in zip(arrays, names, strict=True))
        before = f"v{len(nodes)}" if nodes else "region"
        nodes.append(helper.make_node(kind, [before, *names], [f"v{len(nodes) + 1}"], **options))

    for stage, layers in enumerate(_convolutions(weights)):
        if stage:
            add("MaxPool", kernel_shape=[2, 2, 2], strides=[2, 2, 2])
        for kernel, bias in layers:
            add("Conv", kernel, bias, kernel_shape=[3, 3, 3])
            add("Relu")
    add("MaxPool", kernel_shape=[4, 4, 4], strides=[4, 4, 4])
    add("Flatten")
    layers = _dense(weights)
    for number, (matrix, bias) in enumerate(layers):
        add("Gemm", matrix, bias, transB=1)
        if number < len(layers) - 1:
            add("Relu")
    graph = helper.make_graph(
        nodes,
        "paper",
        [helper.make_tensor_value_info("region", TensorProto.FLOAT, [1, 1, *shape])],
        [helper.make_tensor_value_info(f"v{len(nodes)}", TensorProto.FLOAT, [1, 1])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def onnx_runtime(folder: str, threads: int) -> Callable[[], float]:
    """ONNX Runtime, all graph optimisations."""
    import onnxruntime

    weights, region = _inputs(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Its threads must not spin while others are measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = _onnx_model(weights, region.shape)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {"region": region[None, None]}
    return lambda: float(session.run(None, given)[0][0, 0])


def openvino(folder: str, threads: int) -> Callable[[], float]:
    """OpenVINO, tuned for one region at a time, in float32 as all others."""
    import openvino

    weights, region = _inputs(folder)
    core = openvino.Core()
    wanted = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(_onnx_model(weights, region.shape)), "CPU", wanted)
    given = np.ascontiguousarray(region[None, None])
    return lambda: float(compiled(given)[0][0, 0])


def keras(folder: str, threads: int) -> Callable[[], float]:
    """Keras with TensorFlow, channels last as it wants them on a CPU."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    weights, region = _inputs(folder)
    layers: list[Any] = [keras.Input((*region.shape, 1))]
    values: list[np.ndarray] = []
    for stage, convolutions in enumerate(_convolutions(weights)):
        if stage:
            layers.append(keras.layers.MaxPooling3D(2))
        for kernel, bias in convolutions:
            layers.append(keras.layers.Conv3D(len(bias), 3, activation="relu"))
            values += [kernel.transpose(2, 3, 4, 1, 0), bias]
    layers += [keras.layers.MaxPooling3D(4), keras.layers.Permute((4, 1, 2, 3)), keras.layers.Flatten()]
    dense = _dense(weights)
    for number, (matrix, bias) in enumerate(dense):
        layers.append(keras.layers.Dense(len(bias), activation="relu" if number < len(dense) - 1 else None))
        values += [matrix.T, bias]
    model = keras.Sequential(layers)
    model.set_weights(values)
    given = region[None, ..., None]
    return lambda: float(model.predict(given, verbose=0)[0, 0])
