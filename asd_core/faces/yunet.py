"""YuNet's output rows as boxes, scores and five points.

Source: libfacedetection.train and OpenCV's `FaceDetectorYN`: one prior a cell at strides 8, 16, 32; score = sqrt(class * object), both
clipped to 0..1; centre = (column + dx, row + dy) * stride; size = exp(dw, dh) * stride; points = (column + px, row + py) * stride.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)


def decode_yunet(
    outputs: Mapping[str, NDArray[Any]], canvas_wh: tuple[int, int], lowest: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return boxes (N, 4), scores (N,) and points (N, 5, 2) of all rows that score at least `lowest`, in canvas pixels, unsuppressed.

    Args:
        outputs: `cls_8`, `obj_8`, `bbox_8`, `kps_8` and so on for each stride, with a leading batch axis of one.
        canvas_wh: size of the network's input.
        lowest: lowest score worth decoding.
    """
    boxes, scores, points = [], [], []
    for stride in STRIDES:
        classes, objects = (np.clip(outputs[f"{kind}_{stride}"].reshape(-1), 0, 1) for kind in ("cls", "obj"))
        score = np.sqrt(classes * objects)
        rows = np.flatnonzero(score >= lowest)
        if not len(rows):
            continue
        columns = canvas_wh[0] // stride
        cells = np.stack([rows % columns, rows // columns], axis=1).astype(np.float32)  # (N, 2)
        shapes = outputs[f"bbox_{stride}"].reshape(-1, 4)[rows]
        centres, halves = (cells + shapes[:, :2]) * stride, np.exp(shapes[:, 2:]) * (stride / 2)
        boxes.append(np.concatenate([centres - halves, centres + halves], axis=1))
        scores.append(score[rows])
        points.append((cells[:, None] + outputs[f"kps_{stride}"].reshape(-1, 5, 2)[rows]) * stride)
    if not boxes:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)
