"""From a trained module to an ONNX file: weights kept as float16, computed in float32; and the proof that both say the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.run import laid_out

OPSET = 17
SMALLEST_HALVED = 64  # values; biases and constants of shapes stay as they are


def export(
    module: nn.Module,
    path: Path,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
    half: bool = True,
) -> None:
    """Write a module as an ONNX file.

    Args:
        module: takes `inputs` in order; exported in eval mode, as float32.
        path: the file to write.
        inputs: examples by name, in the order of the module's arguments.
        outputs: names of what it returns, in order.
        free: per input or output the axes of free length and their names.
        half: keep large weights as float16 with a cast to float32 behind each: half the file, the same speed (the casts are folded on loading).

    Raises:
        onnx.checker.ValidationError: the graph is not a valid model.
    """
    module = laid_out(module, torch.contiguous_format).float().eval()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            module, tuple(inputs.values()), str(raw), input_names=list(inputs), output_names=list(outputs), dynamic_axes=dict(free),
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
        model = onnx.load(raw)
    for node in model.graph.node:
        node.ClearField("doc_string")  # would hold the stack and so the paths of this machine
    if half:
        _halve(model)
    model.producer_name, model.doc_string = "rollcall", ""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def parity(module: nn.Module, path: Path, inputs: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return per output the largest absolute difference between the file in ONNX Runtime and the module in torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    ran = session.run(names, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        expected = module.float().eval()(*inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    return {name: float(np.abs(got - want.numpy()).max()) for name, got, want in zip(names, ran, expected, strict=True)}


def _halve(model: onnx.ModelProto) -> None:
    """Store float32 initialisers as float16, each followed by a cast to float32."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else None
        if values is None or values.size < SMALLEST_HALVED or not np.isfinite(values.astype(np.float16)).all():
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
