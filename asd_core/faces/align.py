"""Chips: the aligned 112 x 112 colour face that an embedder sees, what one is worth, and which to keep."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.geometry import ARCFACE_TEMPLATE, Affine, similarity
from asd_core.records import Chips

CHIP_SIZE = 112
BUCKET_SECONDS = 2.0
MOST_CHIPS = 10
JPEG_QUALITY = 90

USELESS_SIZE = 14.0  # pixels: EdgeFace's cosine to the sharp original is below 0.5 here
FULL_SIZE = 112.0  # pixels: more adds nothing to a chip of 112
POSE_SPREAD = 8.0  # chip pixels: five-point misfit at which pose counts 1 / e; frontal faces lie near 2, profiles above 8
SHARP_ENERGY = 0.02  # Laplacian variance over grey variance that counts one half


def align_matrix(landmarks: NDArray[np.float32]) -> Affine:
    """Return the (2, 3) map of the picture onto the chip that brings the five points (5, 2) closest to ArcFace's template.

    Landmarks and template are, like boxes, positions (pixel k covers k to k + 1), so landmarks scale with the picture; the map is in pixel
    indices as `cv2.warpAffine` takes it. InsightFace feeds positions as indices, which is the same for a face of the chip's own size and
    up to half a chip pixel off for a large one.
    """
    onto = similarity(landmarks.astype(np.float64), ARCFACE_TEMPLATE)
    shift = onto[:, :2] @ np.array([0.5, 0.5]) + onto[:, 2] - 0.5
    return np.column_stack([onto[:, :2], shift])


def chip_worth(box: NDArray[np.float32], landmarks: NDArray[np.float32], score: float) -> float:
    """Return what a chip can be worth at most, 0..1, before its pixels are seen: size x pose x detector score.

    Size is logarithmic in the box's longer side in source pixels, 0 at 14 and 1 from 112 on. Pose is exp(-(misfit / 8)^2) with the
    root-mean-square distance of the five aligned points from the template in chip pixels: a turned head does not fit a frontal template.
    """
    side = float(max(box[2] - box[0], box[3] - box[1], 1e-6))
    size = np.clip(np.log(side / USELESS_SIZE) / np.log(FULL_SIZE / USELESS_SIZE), 0, 1)
    onto = similarity(landmarks.astype(np.float64), ARCFACE_TEMPLATE)
    misfit = np.sqrt(np.square(landmarks @ onto[:, :2].T + onto[:, 2] - ARCFACE_TEMPLATE).sum(axis=1).mean())
    return float(size * np.exp(-np.square(misfit / POSE_SPREAD)) * np.clip(score, 0, 1))


def chip_sharpness(chip: NDArray[np.uint8]) -> float:
    """Return 0..1 for a (112, 112, 3) chip: the energy of fine detail (Laplacian) against all contrast, e / (e + 0.02).

    Dividing by the contrast makes light and dark faces alike; a flat chip gives 0.
    """
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    contrast = float(grey.var())
    if contrast < 1.0:
        return 0.0
    energy = float(cv2.Laplacian(grey, cv2.CV_32F).var()) / contrast
    return energy / (energy + SHARP_ENERGY)


def chip_quality(worth: float, chip: NDArray[np.uint8]) -> float:
    """Return the quality 0..1 of a chip: its `chip_worth` x `chip_sharpness`. Never above the worth, so a chip need not be cut to be refused."""
    return worth * chip_sharpness(chip)


def thin_chips(chips: Chips, *, most: int = MOST_CHIPS) -> NDArray[np.int64]:
    """Return which chips to keep, at most `most`, best first, spread over the time that all cover: the best of each of `most` equal stretches.

    What the spread leaves free (empty stretches) is filled with the best of the rest. The order of the input does not matter.
    """
    order = np.lexsort((chips.times, -chips.quality)).astype(np.int64)  # best first, ties to the earlier
    if len(order) > most:
        start, end = float(chips.times.min()), float(chips.times.max())
        stretch = np.minimum((chips.times[order] - start) / max(end - start, 1e-9) * most, most - 1).astype(np.int64)
        leads = np.zeros(len(order), np.bool_)
        leads[np.unique(stretch, return_index=True)[1]] = True
        chosen = np.concatenate([np.flatnonzero(leads), np.flatnonzero(~leads)])[:most]
        order = order[np.sort(chosen)]
    return order


def chip_jpeg(chip: NDArray[np.uint8]) -> bytes:
    """Return a (112, 112, 3) RGB chip as JPEG."""
    done, data = cv2.imencode(".jpg", chip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a chip of shape {chip.shape} is no picture")
    return bytes(data)
