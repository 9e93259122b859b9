"""Which anchors answer for which face: adaptive training sample selection.

Source: Zhang et al. 2020, ATSS (arXiv 1912.02424), with k = 9 as SCRFD takes it: the nine anchors of each stride nearest to a face's
centre are candidates; those whose IoU reaches the candidates' mean plus one standard deviation, and whose point lies inside, are positive.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.faces.network import ANCHOR_SIDES, ANCHORS, STRIDES

CANDIDATES = 9  # of each stride


class Anchors(NamedTuple):
    """All anchors of one input size, in the order of the network's rows."""

    points: Tensor  # (N, 2) x, y in pixels: a cell's corner, as the decoder has it
    sides: Tensor  # (N,) pixels
    counts: tuple[int, ...]  # rows of each stride


def anchors(width: int, height: int) -> Anchors:
    """Return the anchors of an input of this size, multiples of 32."""
    points, sides, counts = [], [], []
    for stride, pair in zip(STRIDES, ANCHOR_SIDES, strict=True):
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        cells = (torch.stack([x, y], dim=2).reshape(-1, 2) * stride).float()
        points.append(cells.repeat_interleave(ANCHORS, dim=0))
        sides.append(torch.tensor(pair, dtype=torch.float32).repeat(len(cells)))
        counts.append(len(cells) * ANCHORS)
    return Anchors(torch.cat(points), torch.cat(sides), tuple(counts))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU of boxes (..., 4) and (..., 4), broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(dim=-1)
    areas = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(dim=-1) + (b[..., 2:] - b[..., :2]).clamp(min=0).prod(dim=-1)
    return both / (areas - both).clamp(min=1e-6)


def assign(boxes: Tensor, owners: Tensor, pictures: int, grid: Anchors) -> Tensor:
    """Return for each anchor of each picture, (pictures, N), the row in `boxes` that it answers for, -1 for none.

    Args:
        boxes: (T, 4) faces of all pictures of a batch.
        owners: (T,) which picture each is in.
        pictures: how many there are.
        grid: the anchors.
    """
    total = len(grid.points)
    chosen = torch.full((pictures * total,), -1, dtype=torch.long)
    if not len(boxes):
        return chosen.reshape(pictures, total)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    candidates, first = [], 0
    for count in grid.counts:
        distance = torch.cdist(centres, grid.points[first : first + count])  # (T, count)
        candidates.append(distance.topk(min(CANDIDATES, count), largest=False).indices + first)
        first += count
    rows = torch.cat(candidates, dim=1)  # (T, K)
    points, half = grid.points[rows], grid.sides[rows][..., None] / 2
    overlap = iou(torch.cat([points - half, points + half], dim=2), boxes[:, None])
    threshold = overlap.mean(dim=1, keepdim=True) + overlap.std(dim=1, keepdim=True)
    inside = torch.minimum(points - boxes[:, None, :2], boxes[:, None, 2:] - points).amin(dim=2) > 0
    positive = (overlap >= threshold) & inside
    places = (owners[:, None] * total + rows)[positive]
    values, faces = overlap[positive], torch.arange(len(boxes))[:, None].expand_as(rows)[positive]
    best = torch.zeros(pictures * total).scatter_reduce(0, places, values, "amax")
    winners = values >= best[places]  # an anchor that several faces claim goes to the one it overlaps most
    chosen[places[winners]] = faces[winners]
    return chosen.reshape(pictures, total)
