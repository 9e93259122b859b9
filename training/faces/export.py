"""From a checkpoint to the file of the line, its manifest, and the proof that both compute the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from training.export import export as write_onnx
from training.export import parity
from training.faces.network import FaceNetwork, folded

NAME = "rollcall_face"
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("score", "distance", "offset") for stride in (8, 16, 32))
SIZE_WH = (640, 384)
LARGEST_DIFFERENCE = 0.02  # scores are in 0..1, distances in strides; most of it is the rounding of kernels to float16

MANIFEST = """name = "{name}"
role = "detector"
kind = "scrfd"
network = "Ours, SCRFD-shaped, plain convolutions"
licence = "Rollcall weights (asd_core/models/weights/LICENSE)"
commercial = false
trained_on = "682 pictures of public repositories, LFW and face tracks (part academic terms); teacher YuNet"
source = "training/faces, run {run}"

[files.network]
file = "{name}.onnx"
sha256 = "{sha256}"

[input]
name = "picture"
size_wh = [640, 384]
free_size = true
channels = "rgb"
mean = [127.5, 127.5, 127.5]
scale = [128.0, 128.0, 128.0]

[thresholds]
score = {score}
low_score = {low_score}
nms_iou = {nms_iou}
"""


def export(network: FaceNetwork, path: Path) -> dict[str, float]:
    """Write the network as ONNX for free sizes and return how far ONNX Runtime is from torch, output by output.

    Raises:
        ValueError: the file computes something else.
    """
    width, height = SIZE_WH
    picture = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1)) * 2 - 1
    module = folded(network)
    free = {"picture": {2: "height", 3: "width"}} | {name: {0: f"rows_{name}"} for name in OUTPUTS}
    write_onnx(module, path, {"picture": picture}, OUTPUTS, free)
    apart = parity(module, path, {"picture": picture})
    if max(apart.values()) > LARGEST_DIFFERENCE:
        raise ValueError(f"{path.name} differs from the trained network: {apart}")
    return apart


def write_manifest(weights: Path, folder: Path, run: str, *, score: float, low_score: float, nms_iou: float) -> None:
    """Write the manifest of an exported file into a folder of manifests."""
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    text = MANIFEST.format(name=NAME, sha256=sha256, run=run, score=score, low_score=low_score, nms_iou=nms_iou)
    (folder / f"{NAME}.toml").write_text(text, encoding="utf-8")
