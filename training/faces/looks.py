"""What happens to a picture between a face and the network: light, film, lenses, codecs, captions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HIDDEN = 0.5  # a face of which more is covered is neither face nor background


def tint(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a grey picture (H, W) as (H, W, 3): half of the time grey, else in some warm tone, so that grey is no sign of a face."""
    if rng.random() < 0.5:
        return cv2.merge([grey, grey, grey]).astype(np.uint8, copy=False)
    tone = np.arange(256) / 255
    gains = rng.uniform((0.95, 0.8, 0.65), (1.15, 1.0, 1.0))
    powers = rng.uniform((0.7, 0.85, 0.9), (1.0, 1.1, 1.3))
    table = np.clip(255 * gains * tone[:, None] ** powers, 0, 255).astype(np.uint8)
    return cv2.merge([cv2.LUT(grey, table[:, channel].copy()) for channel in range(3)]).astype(np.uint8, copy=False)


def spoil(picture: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a picture (H, W, 3) as a camera, a studio and a codec might have left it, and which faces are hidden by what was laid over."""
    hidden = np.zeros(len(boxes), bool)
    if rng.random() < 0.12:
        picture, hidden = _cover(picture, boxes, rng)
    if rng.random() < 0.7:
        picture = _light(picture, rng)
    if rng.random() < 0.12:
        picture = np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() < 0.22:
        picture = _blur(picture, rng)
    if rng.random() < 0.12:
        noise = rng.integers(-12, 13, picture.shape[:2], np.int16)[..., None]
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.05:  # interlaced: every second line is from a moment later
        picture = picture.copy()
        picture[1::2] = np.roll(picture[1::2], rng.integers(1, 4), axis=1)
    if rng.random() < 0.25:
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 80))])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return picture, hidden


def _cover(picture: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Lay a bar or a plate of one colour over a picture: a caption, a frame, something before the camera."""
    height, width = picture.shape[:2]
    size = rng.uniform(0.08, 0.45, 2) * (width, height)
    if rng.random() < 0.5:  # a caption: the whole width, near the bottom or the top
        size = np.array([width, rng.uniform(0.08, 0.25) * height])
    x0, y0 = (rng.random(2) * (width - size[0], height - size[1])).astype(int)
    x1, y1 = int(x0 + size[0]), int(y0 + size[1])
    picture = picture.copy()
    picture[y0:y1, x0:x1] = rng.integers(0, 256, 3)
    low, high = np.maximum(boxes[:, :2], (x0, y0)), np.minimum(boxes[:, 2:], (x1, y1))
    covered = np.maximum(high - low, 0).prod(axis=1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    return picture, covered > HIDDEN


def _light(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change brightness, contrast, gamma and white balance; one time in six the scene is dark."""
    tone = np.arange(256) / 255
    power = np.exp(rng.uniform(-0.4, 0.4)) * (rng.uniform(1.5, 2.5) if rng.random() < 1 / 6 else 1.0)
    gains = np.exp(rng.uniform(-0.25, 0.25)) * np.exp(rng.uniform(-0.1, 0.1, 3))
    table = 255 * (gains * tone[:, None] ** power + rng.uniform(-0.08, 0.08))
    return cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)[None]).astype(np.uint8, copy=False)


def _blur(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take sharpness away: out of focus, in motion, or enlarged from a small picture."""
    height, width = picture.shape[:2]
    kind = rng.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 1.8)).astype(np.uint8, copy=False)
    if kind == 1:
        length = int(rng.integers(3, 8))
        return cv2.blur(picture, (length, 1) if rng.random() < 0.7 else (1, length)).astype(np.uint8, copy=False)
    ratio = rng.uniform(0.45, 0.8)
    small = cv2.resize(picture, (max(1, int(width * ratio)), max(1, int(height * ratio))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
