"""From a run's mean weights to the file that ships, and the proof that it is the same network."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor

from asd_core.models.manifest import PACKAGED, WEIGHTS
from training.embedder.network import CHIP_SIZE, FaceEmbedder
from training.export import export, parity

FILE = WEIGHTS / "rollcall_id.onnx"
MANIFEST = PACKAGED / "rollcall_id.toml"
INPUT, OUTPUT = "face", "embedding"
MOST_BYTES = 6_000_000
MOST_DIFFERENCE = 5e-3  # of vectors of length about 1, from weights kept as float16


def load(checkpoint: Path) -> FaceEmbedder:
    """Return the network with the mean weights of a checkpoint, in eval mode."""
    network = FaceEmbedder()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["mean"])
    return network.eval()


def write(network: FaceEmbedder, path: Path = FILE) -> dict[str, float | int | str]:
    """Export a network to `path` and return the file's digest, size and largest difference.

    Raises:
        ValueError: the file is too large or differs from the network.
    """
    fed = {INPUT: example()}
    export(network, path, fed, [OUTPUT], {INPUT: {0: "faces"}, OUTPUT: {0: "faces"}})
    difference = parity(network, path, fed)[OUTPUT]
    size = path.stat().st_size
    if size > MOST_BYTES or difference > MOST_DIFFERENCE:
        raise ValueError(f"{path.name}: {size} bytes (at most {MOST_BYTES}), differs by {difference:.2g} (at most {MOST_DIFFERENCE})")
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": size, "difference": difference}


def restate(manifest: Path, sha256: str, source: str) -> None:
    """Put a new file's digest and run into its manifest; the cosines stay until `benchmarks/calibrate_embedder.py` measures them anew."""
    text = manifest.read_text(encoding="utf-8")
    for key, value in (("sha256", sha256), ("source", source)):
        text, changed = re.subn(rf'(?m)^{key} = ".*"$', f'{key} = "{value}"', text)
        if changed != 1:
            raise ValueError(f"{manifest} has {changed} lines of {key}, expected one")
    manifest.write_text(text, encoding="utf-8")


def example(count: int = 3) -> Tensor:
    """Return faces (count, 3, 112, 112) of smooth noise, the same each time."""
    coarse = torch.randn(count, 3, 14, 14, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (CHIP_SIZE, CHIP_SIZE), mode="bilinear").clamp(-1, 1)
