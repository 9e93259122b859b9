"""Where the speaking network looks: a square round the lower face, steady over time.

Source: the published LR-ASD / Light-ASD demonstration in one step. Centre and half of the longer side are median-filtered over 13
instants; the network sees a square of 1.4 half sides, centred 0.4 half sides below the face's centre, as 112 x 112 grey pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asd_core.geometry import Affine, square_to_patch

CROP_SIZE = 112
MEDIAN_REACH = 6  # instants on each side: a window of 13
SIDE = 1.4  # of half the longer side
DROP = 0.4  # of half the longer side, downwards


def crop_squares(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return per instant the (T, 3) square that the speaking network sees: centre x, centre y, side, in pixels of the picture.

    Row i depends on the boxes from i - 6 to i + 6 only, so a stretch computed with that much on both sides equals the whole. At a track's
    ends the window shrinks on both sides alike (the reference pads with zeros there, which pulls the crop towards the picture's corner).

    Args:
        boxes: (T, 4) of consecutive instants. Empty in, empty out.
    """
    whole = boxes.astype(np.float64)
    halves = (whole[:, 2:] - whole[:, :2]).max(axis=1, initial=0) / 2
    shapes = np.column_stack([(whole[:, :2] + whole[:, 2:]) / 2, halves])  # (T, 3) centre x, y, half of the longer side
    steady = shapes.copy()
    count = len(shapes)
    window = 2 * MEDIAN_REACH + 1
    if count >= window:
        views = np.lib.stride_tricks.sliding_window_view(shapes, window, axis=0)  # (T - 12, 3, 13)
        steady[MEDIAN_REACH : count - MEDIAN_REACH] = np.median(views, axis=2)
    for i in {*range(min(MEDIAN_REACH, count)), *range(max(0, count - MEDIAN_REACH), count)}:
        reach = min(i, count - 1 - i, MEDIAN_REACH)
        steady[i] = np.median(shapes[i - reach : i + reach + 1], axis=0)
    return np.column_stack([steady[:, 0], steady[:, 1] + DROP * steady[:, 2], SIDE * steady[:, 2]])


def crop_matrix(square: NDArray[np.float64]) -> Affine:
    """Return the (2, 3) map of one row of `crop_squares` onto the 112 x 112 crop, as `cv2.warpAffine` takes it (with pixel centres at integers)."""
    return square_to_patch((float(square[0]), float(square[1])), max(float(square[2]), 1.0), CROP_SIZE)
