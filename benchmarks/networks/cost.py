"""What a network costs: parameters, operations, processor time of one thread, bytes.

Operations are counted from the graph: multiply-adds of convolutions, matrix products and recurrent layers at the shapes that a run shows,
two operations each; activations, pooling and the like are left out. Times are of the network alone, in the pieces the line feeds it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from asd_core.models.network import Network
from asd_core.models.registry import Model
from asd_core.models.session import ERRORS_ONLY, open_session
from benchmarks.networks.keeping import code, digest, kept_json

RUNS = 7
PICTURE_HW = (384, 640)
FRAMES = 150  # crops encoded at a time
SOUND_INSTANTS = 250  # encoded at a time
WINDOW = 75  # instants of a window of the head, three seconds
WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Item:
    """What one item is, the input of a run by name, and how many items that holds."""

    name: str
    feeds: Mapping[str, NDArray[np.float32]]
    count: float


def measure_all(models: Sequence[Model]) -> dict[str, dict[str, Any]]:
    """Return the costs of all models by name, timed in one sitting, turn by turn, so that all meet the same machine."""
    key = digest(*(model.key for model in models), RUNS, code("benchmarks/networks/cost.py"))
    return kept_json("cost", key, lambda: _measure_all(models))  # type: ignore[no-any-return]


def _measure_all(models: Sequence[Model]) -> dict[str, dict[str, Any]]:
    work = [(model, part, item) for model in models for part, item in items(model).items()]
    sessions = {(model.name, part): open_session(model.paths[part]) for model, part, _ in work}
    best: dict[tuple[str, str], float] = {}
    for _ in range(RUNS):
        for model, part, item in work:
            place = (model.name, part)
            best[place] = min(best.get(place, np.inf), _seconds(sessions[place], item))
    told: dict[str, dict[str, Any]] = {}
    for model, part, item in work:
        graph = onnx.load(model.paths[part])
        entry = told.setdefault(model.name, {"parameters": 0, "bytes": 0, "parts": {}, "licence": model.manifest.licence})
        entry["parameters"] += parameters(graph)
        entry["bytes"] += model.paths[part].stat().st_size
        operations = 2 * multiply_adds(graph, item.feeds) / item.count
        entry["parts"][part] = {"item": item.name, "operations": operations, "seconds": best[model.name, part] / item.count}
    return told


def items(model: Model) -> dict[str, Item]:
    """Return by part what its network is fed."""
    rng = np.random.default_rng(0)
    form = model.manifest.input
    if model.manifest.role == "detector":
        return {"network": Item("picture", {form.name: rng.uniform(0, 255, (1, 3, *PICTURE_HW)).astype(np.float32)}, 1)}
    if model.manifest.role == "embedder":
        return {"network": Item("chip", {form.name: rng.uniform(-1, 1, (8, 3, 112, 112)).astype(np.float32)}, 8)}
    width = model.manifest.output.dimension or 128
    head = {name: rng.standard_normal((WINDOWS, WINDOW, width)).astype(np.float32) for name in ("audio", "visual")}
    return {
        "visual": Item("face-frame", {"frames": rng.uniform(0, 255, (1, FRAMES, 112, 112)).astype(np.float32)}, FRAMES),
        "audio": Item("second of sound", {"mfcc": rng.standard_normal((1, 4 * SOUND_INSTANTS, 13)).astype(np.float32)}, SOUND_INSTANTS / 25),
        "detector": Item("instant of a window", head, WINDOWS * WINDOW),
    }


def _seconds(network: Network, item: Item) -> float:
    """Return the processor time of one run after another that warms the caches; time of other processes on the machine does not count."""
    network.run(item.feeds)
    begin = time.process_time()
    network.run(item.feeds)
    return time.process_time() - begin


def parameters(model: onnx.ModelProto) -> int:
    """Return how many weights a graph holds: the values of its floating-point initialisers and constants of more than one value."""
    tensors = [
        *model.graph.initializer,
        *(a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"),
    ]
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(size for tensor in tensors if tensor.data_type in kinds and (size := int(np.prod(tensor.dims))) > 1)


def multiply_adds(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> int:
    """Return the multiply-adds of one run with these inputs."""
    shapes = _shapes(model, feeds)
    return sum(_of_node(node, shapes) for node in model.graph.node)


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    given = [shapes.get(name, ()) for name in node.input]
    out = shapes[node.output[0]] if node.output[0] else ()
    match node.op_type:
        case "Conv":  # weights (out, in / groups, *kernel)
            return int(np.prod(out) * np.prod(given[1][1:]))
        case "ConvTranspose":  # weights (in, out / groups, *kernel)
            return int(np.prod(given[0]) * np.prod(given[1][1:]))
        case "MatMul":
            return int(np.prod(out) * given[0][-1])
        case "Gemm":
            across = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            return int(np.prod(out) * given[0][0 if across else 1])
        case "GRU" | "LSTM" | "RNN":  # input (T, B, in), weights (directions, gates * hidden, in), recurrence (directions, gates * hidden, hidden)
            steps, batch, _ = given[0]
            return int(steps * batch * (np.prod(given[1]) + np.prod(given[2])))
    return 0


def _shapes(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a graph, seen in a run that puts all of them out."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    known = {output.name for output in seen.graph.output}
    made = [name for node in seen.graph.node for name in node.output if name and name not in known]
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(seen.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    shapes = {name: np.shape(value) for name, value in zip(names, session.run(names, dict(feeds)), strict=True)}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {**shapes, **{name: value.shape for name, value in feeds.items()}}
