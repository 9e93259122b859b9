"""The smallest ONNX Runtime session: one CPU, no set-up. Tuned sessions (GPU, profiles) are an adapter's matter and pass the same tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from asd_core.errors import ModelMismatch, ModelMissing
from asd_core.models.network import Network

# The runtime's errors share no root of their own; ValueError is what it raises for an input that is missing or not an array.
ORT_ERRORS = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    ValueError,
)
ERRORS_ONLY = 3  # SCRFD files declare the output sizes of one input size, and each run at another would print nine warnings


class OrtNetwork:
    """A network in one ONNX Runtime session."""

    def __init__(self, session: ort.InferenceSession, sha256: str, name: str, profile: str) -> None:
        self.sha256 = sha256
        self.profile = profile
        self._session = session
        self._name = name
        self._outputs = [output.name for output in session.get_outputs()]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return all outputs by name, in the graph's own order; see `Network.run`."""
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except ORT_ERRORS as error:
            raise ModelMismatch(f"{self._name} does not take this input: {error}") from error
        return dict(zip(self._outputs, values, strict=True))


def open_session(path: Path, *, threads: int = 1) -> Network:
    """Return the network of an ONNX file on the CPU.

    Args:
        path: the file.
        threads: threads inside one call. They do not spin: between calls the cores belong to the decoder.

    Raises:
        ModelMissing: no such file.
        ModelMismatch: ONNX Runtime cannot load it.
    """
    if not path.is_file():
        raise ModelMissing(f"no model file {path}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = path.read_bytes()
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ModelMismatch(f"{path.name} cannot be loaded as an ONNX model: {error}") from error
    return OrtNetwork(session, hashlib.sha256(content).hexdigest(), path.name, "cpu-fp32")
