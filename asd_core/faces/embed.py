"""Chips as vectors: what a face looks like, as numbers whose dot product says how alike two faces are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from asd_core.errors import ModelMismatch
from asd_core.faces.align import CHIP_SIZE
from asd_core.models.manifest import Manifest
from asd_core.models.network import Network, OpenNetwork
from asd_core.models.registry import Model
from asd_core.records import Chips, Embeddings

BATCH = 8  # EdgeFace: 3.2 ms a face instead of 4.2; larger gains nothing on a CPU


class Embedder:
    """An embedder with its manifest's dimension and thresholds. Vectors of different models must never be compared.

    Attributes:
        dimension: length of a vector.
        thresholds: the cosines of this model from which faces are one person, by purpose (benchmarks/calibrate_embedder.py).
        norm_is_quality: whether `embed` returns a quality.
    """

    def __init__(self, network: Network, manifest: Manifest, sha256: str) -> None:
        if manifest.output.dimension is None or manifest.input.size_wh != (CHIP_SIZE, CHIP_SIZE):
            raise ModelMismatch(
                f"an embedder takes {CHIP_SIZE} x {CHIP_SIZE} chips and states its dimension; the manifest of {manifest.name} does not"
            )
        self.dimension = manifest.output.dimension
        self.thresholds: Mapping[str, float] = manifest.thresholds
        self.norm_is_quality = manifest.output.quality == "norm"
        self.sha256 = sha256
        self._network = network
        self._manifest = manifest
        order = slice(None) if manifest.input.channels == "rgb" else slice(None, None, -1)
        self._order = order
        self._mean = np.array(manifest.input.mean, np.float32)
        self._scale = np.array(manifest.input.scale, np.float32)

    def embed(self, chips: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the vectors (K, D) of L2 norm 1 and the quality (K,) of each, None where the norm of this network says nothing.

        Args:
            chips: (K, 112, 112, 3) uint8 RGB, aligned. None in, none out.

        Raises:
            ModelMismatch: the network's vectors are not of the dimension that its manifest states.
        """
        found = [self._raw(chips[i : i + BATCH]) for i in range(0, len(chips), BATCH)]
        raw = np.concatenate(found) if found else np.zeros((0, self.dimension), np.float32)  # (K, D)
        norms = np.linalg.norm(raw, axis=1).astype(np.float32)
        vectors = (raw / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
        return vectors, norms if self.norm_is_quality else None

    def _raw(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        fed = (chips[..., self._order].astype(np.float32) - self._mean) / self._scale
        outputs = self._network.run({self._manifest.input.name: np.ascontiguousarray(fed.transpose(0, 3, 1, 2))})
        name = self._manifest.output.name
        raw: NDArray[np.float32] = outputs[name] if name is not None else next(iter(outputs.values()))
        if raw.shape != (len(chips), self.dimension):
            raise ModelMismatch(f"{self._manifest.name}: expected vectors {(len(chips), self.dimension)}, got {raw.shape}")
        return raw.astype(np.float32)


def embed_tracks(chips: Sequence[Chips], faces: Callable[[int], NDArray[np.uint8]], embedder: Embedder) -> Embeddings:
    """Return the vectors of every track's chips, in order; a track without chips has none.

    Args:
        chips: of each track.
        faces: gives the pixels (K, 112, 112, 3) RGB of the chips of the track of a number; called once for each, in order.
        embedder: the network.

    The quality of a vector is the embedder's own where its norm is one, else that of the chip (size, sharpness, pose, detector score).
    """
    vectors, quality = [], []
    for number, few in enumerate(chips):
        found, norms = embedder.embed(faces(number))
        vectors.append(found)
        quality.append(few.quality if norms is None else norms)
    return Embeddings(model=embedder.sha256, vectors=tuple(vectors), quality=tuple(quality))


def open_embedder(model: Model, open_network: OpenNetwork) -> Embedder:
    """Return an embedder on a model's file.

    Raises:
        ModelMismatch: the manifest is not that of an embedder of aligned chips, or the file cannot be loaded.
    """
    return Embedder(open_network(model.paths["network"]), model.manifest, model.sha256)
