"""Shot cuts from small grey thumbnails on the 25 Hz grid: where one picture is replaced by another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THUMBNAIL_WH = (64, 36)
CUT_REACH = 25  # instants on both sides that a decision depends on at most


def find_cuts(thumbnails: NDArray[np.uint8]) -> list[int]:
    """Return the indices at which a new shot begins, for (T, 36, 64) thumbnails of consecutive instants; hard cuts only.

    A cut differs from its predecessor far more than its neighbours do from theirs, and the change lasts: a flash is no cut.
    """
    if len(thumbnails) < 2:
        return []
    grey = thumbnails.astype(np.int16)
    change = np.concatenate([[0.0], np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))])
    cuts = []
    for i in np.flatnonzero(change > 12.0):
        near = np.r_[change[max(1, i - 6) : i], change[i + 1 : i + 7]]
        lasting = np.abs(grey[min(len(grey) - 1, i + 2)] - grey[i - 1]).mean()
        if change[i] > 3.0 * (np.median(near) if len(near) else 0.0) + 4.0 and lasting > 0.5 * change[i]:
            cuts.append(int(i))
    return cuts
