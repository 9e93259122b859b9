"""The pool that the student learns from: real faces and made ones, each with the teacher's vector.

Eleven thousand faces are few. A teacher can be asked about any picture, so faces are made that nobody has: two aligned faces mixed, parts of
one put into the other, features moved apart or together. What the student then sees is one function, sampled densely, instead of a list to learn by
heart ("Knowledge distillation: a good teacher is patient and consistent", Beyer et al. 2022, arXiv 2106.05237).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import CHIP_SIZE
from asd_core.faces.embed import Embedder
from training.embedder.data import Chip

SHARD = 5000  # made faces of one file
GRID = 5  # control points of a warp along each side


def make_face(one: Chip, other: Chip, rng: np.random.Generator) -> Chip:
    """Return a face of nobody: a mixture of two, parts of one in the other, or one with its features moved."""
    kind = rng.random()
    if kind < 0.4:
        share = np.float32(rng.uniform(0.3, 0.5))
        made = one * (1 - share) + other * share
    elif kind < 0.8:
        mask = _part(rng)
        made = one * (1 - mask) + (_like(other, one) if rng.random() < 0.8 else other) * mask
    else:
        made = one.astype(np.float32)
    if kind >= 0.8 or rng.random() < 0.5:
        made = _warp(made, rng.uniform(1.0, 3.5), rng)
    return np.clip(made + 0.5, 0, 255).astype(np.uint8)


def ask(teacher: Embedder, chips: NDArray[np.uint8], both_sides: bool) -> NDArray[np.float32]:
    """Return the teacher's unit vectors (N, D); `both_sides` takes the mean with the mirrored picture."""
    vectors = teacher.embed(chips)[0]
    if not both_sides:
        return vectors
    summed = vectors + teacher.embed(np.ascontiguousarray(chips[:, :, ::-1]))[0]
    return (summed / np.linalg.norm(summed, axis=1, keepdims=True)).astype(np.float32)


def write_shard(path: Path, faces: NDArray[np.uint8], weights: NDArray[np.float64], teacher: Embedder, rng: np.random.Generator, count: int) -> None:
    """Write `count` made faces and their vectors to `path` (.npy) and beside it; `weights` says how often each real face takes part."""
    pairs = rng.choice(len(faces), (count, 2), p=weights / weights.sum())
    made = np.stack([make_face(faces[a], faces[b], rng) for a, b in pairs])
    np.save(path.with_suffix(".vectors.npy"), ask(teacher, made, both_sides=False).astype(np.float16))
    part = path.with_suffix(".part.npy")
    np.save(part, made)
    part.replace(path)


def _part(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a soft mask (112, 112, 1): an upper or lower part, a side, or the middle of the face."""
    rows, columns = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE].astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        mask = rows > rng.uniform(52, 84)
    elif kind == 1:
        mask = columns > rng.uniform(44, 68)
    else:
        mask = np.square((columns - 56) / rng.uniform(24, 40)) + np.square((rows - rng.uniform(56, 72)) / rng.uniform(28, 46)) < 1
    if rng.random() < 0.5:
        mask = ~mask
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(2, 7))[..., None]


def _like(face: Chip, model: Chip) -> NDArray[np.float32]:
    """Return a face with the brightness and contrast of another, channel by channel, measured where both are face."""
    here, there = face[24:104, 24:88].reshape(-1, 3), model[24:104, 24:88].reshape(-1, 3)
    gain = np.clip((there.std(axis=0) + 1) / (here.std(axis=0) + 1), 0.6, 1.6)
    return ((face - here.mean(axis=0)) * gain + there.mean(axis=0)).astype(np.float32)


def _warp(face: NDArray[np.float32], spread: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the face with its features moved smoothly, by `spread` pixels (standard deviation)."""
    coarse = rng.normal(0, spread, (GRID, GRID, 2)).astype(np.float32)
    moved = cv2.resize(coarse, (CHIP_SIZE, CHIP_SIZE), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[0:CHIP_SIZE, 0:CHIP_SIZE].astype(np.float32)
    warped = cv2.remap(face, columns + moved[..., 0], rows + moved[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)
