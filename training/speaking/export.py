"""From a run's checkpoint to the three ONNX files and their manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from asd_core.models.manifest import PACKAGED, WEIGHTS
from training.export import export, parity
from training.speaking.evaluate import Bench, in_torch
from training.speaking.network import WINDOWS, Sync
from training.speaking.train import load

NAME = "rollcall_sync"
LARGEST_DIFFERENCE = 0.02  # weights are stored as float16
TEXT = """\
name = "rollcall_sync"
role = "speaking"
kind = "sync"
network = "Rollcall-sync, {parameters} parameters"
licence = "Rollcall weights (asd_core/models/weights/LICENSE)"
commercial = false
trained_on = "385 face tracks of public samples and trial recordings, portraits from LFW (part academic terms); teacher LR-ASD"
source = "training/speaking, {run}"
windows = {windows}
{files}
[input]
name = "frames"
size_wh = [112, 112]
channels = "grey"
mean = [0.0]
scale = [1.0]

[output]
dimension = 128

[thresholds]
speaking_logit = 0.0

[calibration]
slope = {slope:.2f}
offset = {offset:.2f}
"""


def ship(checkpoint: Path, bench: Bench, run: str, folder: Path = WEIGHTS, manifests: Path = PACKAGED) -> dict[str, float]:
    """Export a run's network, write its manifest with a calibration on held-out people, and return what was found on the way.

    The logit is moved so that above 0 lies at most a hundredth of what is said of held-out people under noise or music; what that means as
    a probability is the calibration's matter.

    Raises:
        ValueError: a file does not say the same as the module.
    """
    module = load(checkpoint)
    if not isinstance(module, Sync):
        raise ValueError(f"{checkpoint} holds a baseline; only rollcall-sync is shipped")
    too_high = max(0.0, bench.loudest_nobody(in_torch(module)))
    with torch.no_grad():
        module.detector.logit.bias.sub_(too_high)
    slope, offset = bench.calibration(in_torch(module))
    differences = export_sync(module, folder)
    if max(differences.values()) > LARGEST_DIFFERENCE:
        raise ValueError(f"files differ from the module by {differences}, expected at most {LARGEST_DIFFERENCE}")
    parameters = sum(weight.numel() for weight in module.parameters())
    write_manifest(run, parameters, slope, offset, folder, manifests)
    return {"parameters": parameters, "lowered": too_high, "slope": slope, "offset": offset, **differences}


def export_sync(module: Sync, folder: Path = WEIGHTS) -> dict[str, float]:
    """Write the three parts as ONNX files and return per output the largest difference between file and module."""
    rng = torch.Generator().manual_seed(3)
    frames = torch.rand(2, 30, 112, 112, generator=rng) * 255
    mfcc = torch.randn(2, 120, 13, generator=rng) * 10
    features = torch.randn(2, 2, 30, 128, generator=rng)
    parts = {
        "visual": (module.visual, {"frames": frames}, "visual", {1: "instants"}),
        "audio": (module.audio, {"mfcc": mfcc}, "audio", {1: "rows"}),
        "detector": (module.detector, {"audio": features[0], "visual": features[1]}, "score", {1: "instants"}),
    }
    differences: dict[str, float] = {}
    for part, (network, inputs, output, axes) in parts.items():
        path = folder / f"{NAME}_{part}.onnx"
        free = {name: {0: "batch", **axes} for name in inputs} | {output: {0: "batch", 1: "instants"}}
        export(network, path, inputs, [output], free)
        # Other lengths than that of the example: what is free must be free.
        shorter = {name: value[:1, : 3 * value.shape[1] // 10].contiguous() for name, value in inputs.items()}
        for fed in (inputs, shorter):
            for name, difference in parity(network, path, fed).items():
                differences[name] = max(differences.get(name, 0.0), difference)
    return differences


def write_manifest(run: str, parameters: int, slope: float, offset: float, folder: Path = WEIGHTS, manifests: Path = PACKAGED) -> None:
    """Write the manifest of the exported files."""
    files = ""
    for part in ("visual", "audio", "detector"):
        name = f"{NAME}_{part}.onnx"
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        files += f'\n[files.{part}]\nfile = "{name}"\nsha256 = "{digest}"\n'
    text = TEXT.format(parameters=f"{parameters:,}".replace(",", " "), run=run, files=files, slope=slope, offset=offset, windows=list(WINDOWS))
    (manifests / f"{NAME}.toml").write_text(text)
