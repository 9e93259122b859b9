"""What cameras, codecs and detectors do to a face that leaves its person the same. The target stays that of the face as it was."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import CHIP_SIZE
from training.embedder.data import Chip

CHIP_FACE = 100.0  # size of the face in a chip: a chip shrunk to 28 pixels is a face of 25
FLIP, SMALL, BLUR, GREY, JPEG, COVER = 0.5, 0.25, 0.08, 0.25, 0.2, 0.08  # how often each happens
SMALLEST, LARGEST = 12.0, 60.0  # pixels of a face seen from afar


def seen(face: Chip, rng: np.random.Generator, harshness: float = 1.0) -> Chip:
    """Return the face (112, 112, 3) as some camera, at some distance, with some detector, might have given it.

    `harshness` is the share of full strength with which detail is taken away: a student learns first from what can be seen.
    """
    if rng.random() < FLIP:
        face = face[:, ::-1]
    face = _coloured(np.ascontiguousarray(face), rng)
    if rng.random() < COVER * harshness:
        face = _covered(face, rng)
    if rng.random() < BLUR * harshness:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), rng.uniform(0.5, 3.5)), np.uint8)
    side = CHIP_SIZE
    if rng.random() < SMALL * harshness:
        side = round(float(CHIP_SIZE * np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))) / CHIP_FACE))
        face = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    if rng.random() < (0.6 if side < CHIP_SIZE else JPEG):
        packed = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])[1]
        face = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.warpAffine(face, _misaligned(side, rng), (CHIP_SIZE, CHIP_SIZE), flags=cv2.INTER_LINEAR), np.uint8)


def _misaligned(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the map (2, 3) of a picture of `side` pixels onto the chip, a little turned, scaled and shifted."""
    turn, zoom = np.deg2rad(rng.normal(0, 4.0)), np.exp(rng.normal(0, 0.05))
    c, s = np.cos(turn) * zoom, np.sin(turn) * zoom
    middle, k = CHIP_SIZE / 2 - 0.5, CHIP_SIZE / side
    turned = np.array([[c, -s], [s, c]])
    shift = np.array([middle, middle]) + rng.normal(0, 2.2, 2) - turned @ np.array([middle, middle])
    return np.column_stack([turned * k, turned @ np.full(2, (k - 1) / 2) + shift])


def _coloured(face: Chip, rng: np.random.Generator) -> Chip:
    """Return the face in other light: contrast, brightness, tint, gamma; or grey."""
    levels = np.arange(256, dtype=np.float64)
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.05, 3))
    curved = 255 * (levels / 255) ** np.exp(rng.normal(0, 0.2))
    table = np.clip((curved[:, None] - 128) * gain + 128 + rng.normal(0, 12), 0, 255).astype(np.uint8)[None]
    if rng.random() < GREY:
        face = np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        table = np.repeat(table[..., :1], 3, axis=2)
    return np.asarray(cv2.LUT(face, table), np.uint8)


def _covered(face: Chip, rng: np.random.Generator) -> Chip:
    """Return the face with a rectangle of one colour over up to a seventh of it."""
    width, height = rng.integers(12, 45, 2)
    x, y = rng.integers(0, CHIP_SIZE - width), rng.integers(0, CHIP_SIZE - height)
    face[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return face
