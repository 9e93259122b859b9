"""SCRFD's output rows as boxes, scores and five points.

Source: Guo et al. 2021 (arXiv 2105.04714) and the published InsightFace decoder: nine outputs in fixed order (scores, distances,
points at strides 8, 16, 32; the names differ between files), two anchors a cell, cells row by row. An anchor's centre is
(column, row) * stride, without a half-cell shift; scores are probabilities already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)
ANCHORS = 2  # a cell


def decode_scrfd(
    outputs: Mapping[str, NDArray[Any]], canvas_wh: tuple[int, int], lowest: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return boxes (N, 4), scores (N,) and points (N, 5, 2) of all rows that score at least `lowest`, in canvas pixels, unsuppressed.

    Args:
        outputs: the network's outputs in the graph's order; rows may have a leading batch axis of one.
        canvas_wh: size of the network's input.
        lowest: lowest score worth decoding; most of the ten thousand rows end here.
    """
    values = [np.asarray(value) for value in outputs.values()]
    boxes, scores, points = [], [], []
    for level, stride in enumerate(STRIDES):
        score = values[level].reshape(-1)
        rows = np.flatnonzero(score >= lowest)
        if not len(rows):
            continue
        cells = rows // ANCHORS
        columns = canvas_wh[0] // stride
        centres = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32) * stride  # (N, 2)
        distances = values[len(STRIDES) + level].reshape(-1, 4)[rows] * stride
        offsets = values[2 * len(STRIDES) + level].reshape(-1, 5, 2)[rows] * stride
        boxes.append(np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1))
        scores.append(score[rows])
        points.append(centres[:, None] + offsets)
    if not boxes:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)
