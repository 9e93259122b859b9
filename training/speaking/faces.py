"""How a face is shown to the network in training: another framing, size, light, sharpness; never another movement of the lips."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.faces.crop import CROP_SIZE
from training.speaking.data import STORED

WINDOW_CENTRE = (88.0, 112.0)  # of the line's window in a stored frame, in pixels
FACE_CENTRE, FACE_SIDE = (88.0, 80.0), 160.0  # of the whole face


def plain(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the line's own (T, 112, 112) window of (T, 176, 176) stored frames."""
    return np.ascontiguousarray(frames[:, 56:168, 32:144])


def shown(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (T, 112, 112) crops of stored frames, changed in one way for the whole clip, with a window that trembles a little."""
    count = len(frames)
    whole = rng.random() < 0.06
    centre = np.array(FACE_CENTRE if whole else WINDOW_CENTRE) + rng.normal(0, 2.5, 2)
    side = (FACE_SIDE if whole else CROP_SIZE) * np.exp(rng.normal(0, 0.06))
    angle = rng.normal(0, 3)
    path = tremble(count, rng)
    flip = rng.random() < 0.5
    small = int(rng.integers(20, 64)) if rng.random() < 0.2 else 0
    blur = rng.uniform(0.5, 1.6) if rng.random() < 0.15 else 0.0
    quality = int(rng.integers(20, 70)) if rng.random() < 0.12 else 0
    table = tone(rng)
    grain = rng.normal(0, rng.uniform(1, 6), (4, CROP_SIZE, CROP_SIZE)) if rng.random() < 0.15 else None
    out = np.empty((count, CROP_SIZE, CROP_SIZE), np.uint8)
    for i, frame in enumerate(frames):
        scale = CROP_SIZE / (side * path[i, 2])
        matrix = cv2.getRotationMatrix2D((0, 0), angle, scale)
        matrix[:, 2] = (CROP_SIZE - 1) / 2 - matrix[:, :2] @ (centre + path[i, :2])
        crop = cv2.warpAffine(frame, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if small:
            crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (CROP_SIZE, CROP_SIZE))
        if blur:
            crop = cv2.GaussianBlur(crop, (0, 0), blur)
        if quality:
            crop = np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE), np.uint8)
        crop = cv2.LUT(crop, table)
        if grain is not None:
            crop = np.clip(crop + grain[i % 4], 0, 255).astype(np.uint8)
        out[i] = crop[:, ::-1] if flip else crop
    if rng.random() < 0.08:  # a few frames are held, as where a rate was converted
        at, long = int(rng.integers(count)), int(rng.integers(2, 5))
        out[at : at + long] = out[at]
    return out


def frozen(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one frame for all: a photograph, over which the window trembles."""
    return np.repeat(frames[int(rng.integers(len(frames)))][None], len(frames), axis=0)


def beside(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (T, 176, 176) frames of what is no mouth, hair, forehead or background, as large as a face: detectors err."""
    side = int(rng.integers(44, 64))
    top, left = int(rng.integers(70 - side)), int(rng.integers(STORED - side))
    return np.stack([cv2.resize(frame[top : top + side, left : left + side], (STORED, STORED)) for frame in frames])


def tremble(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return per instant the (count, 3) shift in x and y in pixels and the scale of the window: slow, as of a followed face."""
    knots = max(2, count // 8)
    steps = np.linspace(0, knots - 1, count)
    size = rng.gamma(1.0, 0.7)
    wander = np.stack([np.interp(steps, np.arange(knots), rng.normal(0, size, knots)) for _ in range(3)], axis=1)
    return np.column_stack([wander[:, :2], 1 + 0.006 * wander[:, 2]])


def tone(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a (256,) table of another gamma, contrast and brightness."""
    values = (np.arange(256) / 255.0) ** np.exp(rng.normal(0, 0.25))
    values = (values - 0.5) * np.exp(rng.normal(0, 0.2)) + 0.5 + rng.normal(0, 0.08)
    return (values.clip(0, 1) * 255).astype(np.uint8)
