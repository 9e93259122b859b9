"""Pixels: xyxy boxes, intersection over union, squares, and the five-point similarity. Only here is the pixel convention known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]  # (N, 4) xyxy, x2/y2 exclusive
Affine = NDArray[np.float64]  # (2, 3): maps (x, y, 1) in the source to (x, y) in the target

# Where ArcFace-type embedders expect the five points in a 112 x 112 chip (Deng et al. 2019, as published by InsightFace).
ARCFACE_TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], dtype=np.float64)


def box_iou(left: Boxes, right: Boxes) -> NDArray[np.float32]:
    """Return the (N, M) intersection over union of every box of `left` with every box of `right`; 0 for boxes without area."""
    top_left = np.maximum(left[:, None, :2], right[None, :, :2])
    bottom_right = np.minimum(left[:, None, 2:], right[None, :, 2:])
    overlap = np.clip(bottom_right - top_left, 0, None).prod(axis=2)  # (N, M)
    areas_left = np.clip(left[:, 2:] - left[:, :2], 0, None).prod(axis=1)
    areas_right = np.clip(right[:, 2:] - right[:, :2], 0, None).prod(axis=1)
    whole = areas_left[:, None] + areas_right[None, :] - overlap
    return np.where(whole > 0, overlap / np.maximum(whole, 1e-12), 0).astype(np.float32)


def box_centres(boxes: Boxes) -> NDArray[np.float32]:
    """Return the (N, 2) centres."""
    return ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32)


def box_sizes(boxes: Boxes) -> NDArray[np.float32]:
    """Return the (N,) longer sides."""
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0).astype(np.float32) if len(boxes) else np.zeros(0, np.float32)


def similarity(points: NDArray[np.float64], template: NDArray[np.float64]) -> Affine:
    """Return the (2, 3) rotation, uniform scale and shift that maps `points` (K, 2) best onto `template` (K, 2), without mirroring.

    Source: Umeyama 1991, least-squares estimation of transformation parameters between two point patterns.
    """
    mean_from, mean_to = points.mean(axis=0), template.mean(axis=0)
    centred_from, centred_to = points - mean_from, template - mean_to
    u, singular, vt = np.linalg.svd(centred_to.T @ centred_from / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = u @ np.diag(signs) @ vt
    variance = centred_from.var(axis=0).sum()
    scale = float((singular * signs).sum() / variance) if variance > 0 else 1.0
    return np.column_stack([scale * rotation, mean_to - scale * rotation @ mean_from])


def square_to_patch(centre: tuple[float, float], side: float, size: int) -> Affine:
    """Return the (2, 3) map of an upright square of the picture onto a `size` x `size` patch, edge to edge.

    Patch coordinates follow `cv2.warpAffine`: pixel (0, 0) has its centre at (0, 0), so the square's left edge lands at -0.5.
    """
    scale = size / side
    left, top = centre[0] - side / 2, centre[1] - side / 2
    return np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])


def compose(second: Affine, first: Affine) -> Affine:
    """Return the (2, 3) map that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])
