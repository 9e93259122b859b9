"""ONNX Runtime sessions for every machine: explicit threads, CPU, CUDA or TensorRT, and never a silent fall-back.

A numeric profile names where and how a network computes: `cpu-fp32`, `cuda-fp32`, `tensorrt-fp32`, `tensorrt-fp16`. It belongs into every
cache key, since results differ in the last digits. ONNX Runtime lists providers that it cannot load and falls back to the CPU with a
line on stderr; here a session that is not on the device asked for is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import onnxruntime as ort

from asd_core.errors import DeviceMissing, ModelMismatch, ModelMissing
from asd_core.models.network import Network
from asd_core.models.session import ERRORS_ONLY, ORT_ERRORS, OrtNetwork

Profile = Literal["cpu-fp32", "cuda-fp32", "tensorrt-fp32", "tensorrt-fp16"]
PROVIDERS: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """Where and how networks run.

    Attributes:
        profile: numeric profile; `cpu-fp32` needs nothing.
        threads: threads inside one call on the CPU. One per worker when several workers share the machine.
        spinning: let idle threads burn their core while they wait: a little faster alone, 30 to 100 % more CPU time otherwise.
        device: number of the GPU.
        engine_cache: folder for TensorRT engines, which take minutes to build; None builds them anew in each process.
    """

    profile: Profile = "cpu-fp32"
    threads: int = 1
    spinning: bool = False
    device: int = 0
    engine_cache: Path | None = None

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise ValueError(f"profile is {self.profile!r}, expected one of {', '.join(get_args(Profile))}")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}, expected at least 1")


def open_network(path: Path, options: InferenceOptions) -> Network:
    """Return the network of an ONNX file on the device that the profile names.

    Raises:
        ModelMissing: no such file.
        ModelMismatch: ONNX Runtime cannot load it.
        DeviceMissing: the device or its libraries are not there; never a CPU session in their place.
    """
    if not path.is_file():
        raise ModelMissing(f"no model file {path}")
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    device = options.profile.partition("-")[0]
    if device != "cpu":
        _require_gpu_runtime(options.profile)
    try:
        session = ort.InferenceSession(content, _session_options(options), providers=_providers(options, sha256))
    except ORT_ERRORS as error:
        raise ModelMismatch(f"{path.name} cannot be loaded as an ONNX model on {options.profile}: {error}") from error
    got = session.get_providers()[0]
    if got != PROVIDERS[device]:
        raise DeviceMissing(
            f"{options.profile} was asked for, but ONNX Runtime gave {got}: the GPU, its driver or its libraries are missing. "
            "Install the extra `gpu` on a machine with an NVIDIA driver, or choose the profile cpu-fp32."
        )
    return OrtNetwork(session, sha256, path.name, options.profile)


def _session_options(options: InferenceOptions) -> ort.SessionOptions:
    told = ort.SessionOptions()
    told.intra_op_num_threads = options.threads
    told.inter_op_num_threads = 1
    told.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    told.log_severity_level = ERRORS_ONLY
    told.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    return told


def _providers(options: InferenceOptions, sha256: str) -> list[tuple[str, dict[str, str]]]:
    """Return the providers in order of preference; the CPU stands behind a GPU for the few nodes (shapes) that belong there."""
    device, _, precision = options.profile.partition("-")
    cpu: tuple[str, dict[str, str]] = (PROVIDERS["cpu"], {})
    if device == "cpu":
        return [cpu]
    # TF32 is off: its ten bits would make cuda-fp32 another numeric profile than its name says.
    cuda = (PROVIDERS["cuda"], {"device_id": str(options.device), "use_tf32": "0"})
    if device == "cuda":
        return [cuda, cpu]
    told = {"device_id": str(options.device), "trt_fp16_enable": str(precision == "fp16")}
    if options.engine_cache is not None:
        folder = options.engine_cache / sha256[:16] / precision
        folder.mkdir(parents=True, exist_ok=True)
        told |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder), "trt_timing_cache_enable": "True"}
    return [(PROVIDERS["tensorrt"], told), cuda, cpu]


def _require_gpu_runtime(profile: str) -> None:
    provider = PROVIDERS[profile.partition("-")[0]]
    if provider not in ort.get_available_providers():
        raise DeviceMissing(f"{profile} needs onnxruntime-gpu: install the extra `gpu` in place of `cpu`, or choose the profile cpu-fp32")
    ort.preload_dlls()
