"""Every way to open a network: the same numbers, the same errors, and never another device than asked for."""

import hashlib
from functools import partial

import numpy as np
import onnxruntime as ort
import pytest

from asd_core.errors import DeviceMissing, ModelMismatch, ModelMissing
from asd_core.models.manifest import WEIGHTS
from asd_core.models.session import open_session
from infra.inference import PROVIDERS, InferenceOptions, open_network

WAYS = {
    "core": open_session,
    "one thread": partial(open_network, options=InferenceOptions()),
    "two threads": partial(open_network, options=InferenceOptions(threads=2)),
    "spinning": partial(open_network, options=InferenceOptions(threads=2, spinning=True)),
}
MFCC = (np.arange(8 * 13, dtype=np.float32).reshape(1, 8, 13) - 50) / 10


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def open_any(request):
    return request.param


@pytest.fixture
def network_file():
    return WEIGHTS / "rollcall_sync_audio.onnx"


def test_the_outputs_have_names_and_the_same_values(open_any, network_file):
    outputs = open_any(network_file).run({"mfcc": MFCC})
    assert list(outputs) == ["audio"]
    assert outputs["audio"].shape[:2] == (1, 2)
    np.testing.assert_allclose(outputs["audio"], open_session(network_file).run({"mfcc": MFCC})["audio"], atol=1e-5)


def test_a_network_knows_its_file_and_its_profile(open_any, network_file):
    network = open_any(network_file)
    assert network.sha256 == hashlib.sha256(network_file.read_bytes()).hexdigest()
    assert network.profile == "cpu-fp32"


@pytest.mark.parametrize("feeds", [{}, {"sound": MFCC}, {"mfcc": MFCC[0]}, {"mfcc": MFCC.astype(np.float64)}])
def test_a_wrong_input_is_refused_by_the_files_name(open_any, network_file, feeds):
    with pytest.raises(ModelMismatch, match="rollcall_sync_audio"):
        open_any(network_file).run(feeds)


@pytest.mark.models
def test_outputs_keep_the_graphs_order(open_any, models_folder):
    """SCRFD's nine outputs have numbers for names: only their order says what they are."""
    outputs = open_any(models_folder / "scrfd_500m_kps.onnx").run({"input.1": np.zeros((1, 3, 64, 96), np.float32)})
    assert [value.shape[-1] for value in outputs.values()] == [1, 1, 1, 4, 4, 4, 10, 10, 10]


def test_what_is_not_there_is_missing(open_any, tmp_path):
    with pytest.raises(ModelMissing, match=r"none\.onnx"):
        open_any(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(1000)])
def test_what_is_no_network_is_refused(open_any, tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelMismatch, match=r"bad\.onnx"):
        open_any(path)


@pytest.mark.parametrize("profile", ["cuda-fp32", "tensorrt-fp16"])
def test_a_gpu_that_is_not_there_is_an_error_and_no_cpu_session(profile, tmp_path):
    if PROVIDERS[profile.partition("-")[0]] in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed: its sessions are the matter of a machine with a GPU")
    path = tmp_path / "any.onnx"
    path.write_bytes(b"never read")
    with pytest.raises(DeviceMissing, match="gpu"):
        open_network(path, InferenceOptions(profile=profile))


def test_a_session_that_fell_back_to_the_cpu_is_an_error(network_file, monkeypatch):
    """ONNX Runtime lists providers that it cannot load and goes on without them."""
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    monkeypatch.setattr(ort, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(DeviceMissing, match="CPUExecutionProvider"):
        open_network(network_file, InferenceOptions(profile="cuda-fp32"))


@pytest.mark.parametrize("wrong", [{"profile": "cuda-int8"}, {"threads": 0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InferenceOptions(**wrong)
