"""Frontal faces turned aside: the picture rows of a head of ordinary shape are rendered anew as seen from the side.

Turned faces are rare in photographs that people choose to keep. A picture with one near-frontal face gives one of the same person looking
aside; the teacher labels it like any other picture and so says whether it still is a face. Source of the idea: Zhu et al. 2016, "Face
Alignment Across Large Poses" (arXiv 1511.07212), with a fitted head; here the head is one analytic shape, placed by the five points.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FINE = 3  # source samples a pixel and row, so that stretched parts have few gaps
REACH = 1.7  # radii of the head up to which the picture follows it
AXIS = 0.35  # of the head's depth: it turns about a line in the neck
HEAD = (0.0, 0.5), (1.12, 1.75, 1.3)  # centre and radii of the head, in distances of the eyes from the point between them; depth last


def depth(u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far the head stands out at places (any shape) right of and below the point between the eyes, all in eye distances."""
    (cu, cv), (ru, rv, rz) = HEAD
    skull = rz * np.sqrt(np.clip(1 - ((u - cu) / ru) ** 2 - ((v - cv) / rv) ** 2, 0, 1))
    along = np.clip(v / 0.62, 0, 1) * (v < 0.72)  # from the bridge down to the tip
    nose = 0.42 * along * np.exp(-((u / (0.11 + 0.1 * along)) ** 2)) * np.clip((0.8 - v) / 0.12, 0, 1)
    sockets = -0.1 * (np.exp(-(((u - 0.5) / 0.25) ** 2) - (v / 0.16) ** 2) + np.exp(-(((u + 0.5) / 0.25) ** 2) - (v / 0.16) ** 2))
    lips = 0.1 * np.exp(-((u / 0.4) ** 2) - ((v - 1.1) / 0.14) ** 2)
    chin = 0.14 * np.exp(-((u / 0.35) ** 2) - ((v - 1.62) / 0.2) ** 2)
    return (skull + nose + sockets + lips + chin).astype(np.float32)


def look_aside(picture: NDArray[np.uint8], points: NDArray[np.float32], angle: float) -> None:
    """Turn a face of a picture (H, W, 3), in place.

    Args:
        picture: with a face that looks at the camera.
        points: its five points (5, 2) in pixels; the eyes are taken to be level.
        angle: radians to the side, positive towards growing x.
    """
    middle, unit = (points[0] + points[1]) / 2, float(np.linalg.norm(points[1] - points[0]))
    (cu, cv), (ru, rv, rz) = HEAD
    x0, y0 = np.maximum(0, np.floor(middle + unit * np.array([cu - REACH * ru, cv - REACH * rv]))).astype(int)
    x1, y1 = np.ceil(middle + unit * np.array([cu + REACH * ru, cv + REACH * rv])).astype(int) + 1
    window = picture[y0:y1, x0:x1]
    height, width = window.shape[:2]
    columns = (np.arange(width * FINE, dtype=np.float32) + 0.5) / FINE - 0.5
    u, v = np.meshgrid((columns + x0 - middle[0]) / unit, (np.arange(height, dtype=np.float32) + y0 - middle[1]) / unit)
    share = np.clip(
        (REACH - np.sqrt(((u - cu) / ru) ** 2 + ((v - cv) / rv) ** 2)) / (REACH - 1), 0, 1
    )  # around the head all follows it less and less
    z = depth(u, v)
    aside = u * np.cos(angle) + (z - AXIS * rz) * np.sin(angle)
    target = np.round((u + share * (aside - u)) * unit + middle[0] - x0).astype(np.int64)
    near = share * (z * np.cos(angle) - u * np.sin(angle))
    shown = (target >= 0) & (target < width)
    order = np.argsort(near[shown], kind="stable")  # what is nearest is written last
    source = np.full((height, width), np.nan, np.float32)
    source[np.nonzero(shown)[0][order], target[shown][order]] = np.broadcast_to(columns, u.shape)[shown][order]
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    picture[y0:y1, x0:x1] = cv2.remap(window, _without_gaps(source), rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _without_gaps(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (H, W) with what is not a number taken from its neighbours in the row, in proportion."""
    places = np.arange(rows.shape[1])
    for row in rows:
        known = ~np.isnan(row)
        if known.any() and not known.all():
            row[~known] = np.interp(places[~known], places[known], row[known])
    return rows
