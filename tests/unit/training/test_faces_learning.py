"""The detector learns, is exported as it was trained, and the shipped file is what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd_core.demo.portraits import load_portrait
from asd_core.faces.detect import open_detector
from asd_core.models.manifest import WEIGHTS
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session

OUTPUTS = [f"{kind}_{stride}" for kind in ("score", "distance", "offset") for stride in (8, 16, 32)]


def test_losses_fall_on_one_picture() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make train-setup")
    from training.faces.assign import anchors
    from training.faces.loss import Targets, losses
    from training.faces.network import FaceNetwork

    torch.manual_seed(2)
    picture = torch.zeros(1, 3, 96, 96)
    picture[:, :, 30:66, 34:62] = 1.0
    points = torch.tensor([[41.0, 42, 55, 42, 48, 48, 43, 57, 53, 57]])
    targets = Targets(torch.tensor([0]), torch.tensor([[34.0, 30, 62, 66]]), points, torch.tensor([True]), torch.tensor([True]))
    network, grid = FaceNetwork(), anchors(96, 96)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    seen = []
    for _ in range(40):
        parts = losses(network.rows(picture), targets, grid)
        optimiser.zero_grad()
        parts.total.backward()
        optimiser.step()
        seen.append([part.item() for part in parts])
    first, last = np.array(seen[0]), np.array(seen[-3:]).mean(axis=0)
    assert (last[1:] < first[1:] / 2).all(), "boxes and points"
    assert 2 * last[1] + last[2] + last[0] < (2 * first[1] + first[2] + first[0]) / 2


def test_the_file_computes_what_was_trained(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make train-setup")
    from training.faces.export import LARGEST_DIFFERENCE, export
    from training.faces.network import FaceNetwork

    torch.manual_seed(2)
    network = FaceNetwork().train()
    with torch.no_grad():
        network.rows(torch.randn(2, 3, 64, 96))
    apart = export(network.eval(), tmp_path / "face.onnx")
    assert list(apart) == OUTPUTS
    assert max(apart.values()) < LARGEST_DIFFERENCE
    ran = open_session(tmp_path / "face.onnx").run({"picture": np.zeros((1, 3, 64, 160), np.float32)})
    assert [value.shape for value in ran.values()] == [(64 * 160 // s**2 * 2, size) for size in (1, 4, 10) for s in (8, 16, 32)]


def test_the_shipped_file_is_small_and_cheap() -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
    path = WEIGHTS / "rollcall_face.onnx"
    assert path.stat().st_size < 0.6e6
    model = onnx.load(path)
    assert [output.name for output in model.graph.output] == OUTPUTS
    assert not any(trace in path.read_bytes() for trace in (b"/home/", str(Path(__file__).parents[3]).encode(), b"site-packages"))
    parameters = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if tensor.dims)
    assert parameters < 250_000
    for axis, size in ((0, 1), (2, 384), (3, 640)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    shaped = onnx.shape_inference.infer_shapes(model)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in shaped.graph.value_info}
    kernels = {tensor.name.removesuffix(".half"): tensor.dims for tensor in model.graph.initializer}
    products = sum(np.prod(shapes[node.output[0]]) * np.prod(kernels[node.input[1]][1:]) for node in shaped.graph.node if node.op_type == "Conv")
    assert 0.2e9 < products < 0.26e9, "multiply-adds at 640 x 384; well under 1 GFLOP"


def test_the_shipped_file_finds_a_face_at_any_size() -> None:
    detector = open_detector(find("detector", [ModelFolder(WEIGHTS)], "rollcall_face"), open_session)
    found = detector.detect(load_portrait("collins"), top=1)
    assert found.scores[0] >= detector.score_threshold
    x = found.landmarks[0, :, 0]
    assert x[0] < x[1] and x[3] < x[4]
    assert (found.landmarks[0] > found.boxes[0, :2]).all() and (found.landmarks[0] < found.boxes[0, 2:]).all()
