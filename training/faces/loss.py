"""What the detector is punished for: scores, boxes, points.

Sources: quality focal loss, Li et al. 2020 (arXiv 2006.04388): the score learns the IoU that its own box reaches, so that it ranks boxes;
distance IoU, Zheng et al. 2020 (arXiv 1911.08287); smooth L1 on landmarks as in SCRFD, here as a share of the face's side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.faces.assign import Anchors, assign, iou
from training.faces.network import Rows

FOCUS = 2.0  # exponent of the quality focal loss
SCORE_WEIGHT = 2.5
LEAST_QUALITY = 0.5  # of a face whose box is all wrong: a small face, hard to frame, still scores above what only looks like one
BOX_WEIGHT = 2.0
POINT_WEIGHT = 1.0
POINT_BEND = 0.03  # of the face's side: below it the loss is quadratic
IGNORED_RIM = 0.2, 4.0  # an ignored face covers the points inside its box grown by this share of its side and so many pixels


class Targets(NamedTuple):
    """The faces of a batch of pictures, one row a face."""

    owners: Tensor  # (T,) which picture
    boxes: Tensor  # (T, 4)
    points: Tensor  # (T, 10)
    learnt: Tensor  # (T,) bool: False is neither a face nor background
    pointed: Tensor  # (T,) bool: the points are worth learning


class Losses(NamedTuple):
    """The parts of the loss, each a scalar."""

    score: Tensor
    box: Tensor
    point: Tensor

    @property
    def total(self) -> Tensor:
        """Return the sum that is minimised."""
        return SCORE_WEIGHT * self.score + BOX_WEIGHT * self.box + POINT_WEIGHT * self.point


def losses(rows: Rows, targets: Targets, grid: Anchors) -> Losses:
    """Return the losses of a batch, means over its positive anchors."""
    learnt = torch.nonzero(targets.learnt)[:, 0]
    matched = assign(targets.boxes[learnt], targets.owners[learnt], len(rows.scores), grid)
    counted = (matched >= 0) | ~_ignored(targets, len(rows.scores), grid)
    picture, anchor = torch.nonzero(matched >= 0, as_tuple=True)
    face = learnt[matched[picture, anchor]]
    positives = max(1, len(face))

    point = grid.points[anchor]
    distances, offsets = rows.distances[picture, anchor], rows.offsets[picture, anchor]
    boxes = torch.cat([point - distances[:, :2], point + distances[:, 2:]], dim=1)
    wanted = targets.boxes[face]
    quality = torch.zeros_like(rows.scores)
    quality[picture, anchor] = LEAST_QUALITY + (1 - LEAST_QUALITY) * iou(boxes.detach(), wanted)
    side = (wanted[:, 2:] - wanted[:, :2]).amax(dim=1, keepdim=True)
    apart = (offsets - (targets.points[face] - point.repeat(1, 5))) / side
    bent = torch.where(apart.abs() < POINT_BEND, apart.square() / (2 * POINT_BEND), apart.abs() - POINT_BEND / 2)
    return Losses(
        (quality_focal(rows.scores, quality) * counted).sum() / positives,
        (1 - distance_iou(boxes, wanted)).sum() / positives,
        (bent.sum(dim=1) * targets.pointed[face]).sum() / positives,
    )


def quality_focal(logits: Tensor, quality: Tensor) -> Tensor:
    """Return |quality - p|^2 times the cross-entropy of p with `quality`, element by element."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (quality - logits.sigmoid()).abs().pow(FOCUS) * entropy


def distance_iou(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Return the IoU of boxes (N, 4), less the squared distance of the centres over the squared diagonal of the box around both."""
    around = torch.maximum(boxes[:, 2:], wanted[:, 2:]) - torch.minimum(boxes[:, :2], wanted[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2
    return iou(boxes, wanted) - apart.square().sum(dim=1) / around.square().sum(dim=1).clamp(min=1e-6)


def _ignored(targets: Targets, pictures: int, grid: Anchors) -> Tensor:
    """Return (pictures, N): whether an anchor's point lies in a face that is neither learnt nor background."""
    ignored = torch.zeros(pictures, len(grid.points), dtype=torch.bool)
    boxes, owners = targets.boxes[~targets.learnt], targets.owners[~targets.learnt]
    rim = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) * IGNORED_RIM[0] + IGNORED_RIM[1]
    inside = ((grid.points > boxes[:, None, :2] - rim[:, None]) & (grid.points < boxes[:, None, 2:] + rim[:, None])).all(dim=2)
    face, anchor = torch.nonzero(inside, as_tuple=True)
    ignored[owners[face], anchor] = True
    return ignored
