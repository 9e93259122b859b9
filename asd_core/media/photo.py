"""Photographs: any picture file that OpenCV reads, upright as its EXIF says, as an RGB array."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.errors import NotFound, Unreadable

LONGEST_SIDE = 4096  # pixels: a face that needs more than that is larger than any network looks at
LARGEST_FILE = 200 << 20  # bytes


def read_photo(path: Path) -> NDArray[np.uint8] | None:
    """Return the (H, W, 3) picture, scaled down to at most 4096 pixels on its longest side; None for a file that is no picture.

    Raises:
        NotFound: there is no such file.
        Unreadable: the file is empty or larger than any photograph.
    """
    if not path.is_file():
        raise NotFound(f"no such file: {path}")
    size = path.stat().st_size
    if size == 0:
        raise Unreadable(f"{path.name} is empty")
    if size > LARGEST_FILE:
        return None
    try:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    if picture is None:
        return None
    height, width = picture.shape[:2]
    scale = LONGEST_SIDE / max(width, height)
    if scale < 1:
        size_wh = max(1, round(width * scale)), max(1, round(height * scale))  # a line of pixels keeps its one row
        picture = np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(picture, np.uint8)


def cut_patch(picture: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the (size, size, 3) patch that `matrix` (2, 3) maps the picture onto; black outside, averaged where it shrinks a lot."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.5:
        shrink = 2 * scale
        small = np.asarray(cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        across, down = small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]
        # pixel k of the small picture covers k / shrink to (k + 1) / shrink of the large one
        back = np.array([[1 / across, 0, 0.5 / across - 0.5], [0, 1 / down, 0.5 / down - 0.5], [0, 0, 1]])
        picture, matrix = small, matrix @ back
    return np.asarray(cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)
