"""The face detector `rollcall-face`: an SCRFD-shaped network of plain convolutions.

Sources: Guo et al. 2021, SCRFD (arXiv 2105.04714): strides 8, 16, 32, two square anchors a cell, per anchor a score, four distances to the
sides and ten landmark offsets; He et al. 2016 (arXiv 1512.03385): basic blocks; Lin et al. 2017 (arXiv 1612.03144): the top-down pyramid.

Widths are multiples of 16, the block in which CPUs with wide vectors compute, and most of the work stands at strides 8 and 16, where the
faces of broadcast pictures are found. Plain convolutions cost more operations than depth-wise ones and less time.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
ANCHOR_SIDES = ((16, 32), (64, 128), (256, 512))  # pixels, two per cell of each stride
ANCHORS = 2  # a cell
ROW = 1 + 4 + 10  # per anchor: score, distances to left, top, right, bottom, five points


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels by stage; the defaults are the shipped network."""

    stem: int = 16  # stride 2
    quarter: int = 16  # stride 4
    stages: tuple[int, int, int] = (32, 48, 64)  # strides 8, 16, 32
    inner: tuple[int, int, int] = (16, 48, 64)  # inside the block of each stage
    pyramid: int = 32


class Rows(NamedTuple):
    """What the network says of all anchors, row by row: stride 8 first, cells row by row, two anchors a cell; pixels of the input."""

    scores: Tensor  # (B, N) logits
    distances: Tensor  # (B, N, 4) from the cell's point to the left, top, right and bottom side
    offsets: Tensor  # (B, N, 10) x, y of five points from the cell's point


def unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return convolution 3x3, batch norm, ReLU: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Block(nn.Module):
    """A basic residual block of two 3x3 convolutions, (B, width, H, W) -> the same, `inner` channels between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first = unit(width, inner)
        self.second = nn.Sequential(nn.Conv2d(inner, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + f(x))."""
        return torch.relu(x + self.second(self.first(x)))


class FaceNetwork(nn.Module):
    """Pictures (B, 3, H, W), RGB as (pixel - 127.5) / 128, H and W multiples of 32 -> nine outputs in SCRFD's order.

    `forward` is what is exported: scores (N, 1) as probabilities at strides 8, 16, 32, then distances (N, 4), then offsets (N, 10), both
    in units of the stride, for a batch of one. `rows` is what is trained on.
    """

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        w = widths or Widths()
        self.stem = nn.Sequential(unit(3, w.stem, 2), unit(w.stem, w.quarter, 2))
        steps = (w.quarter, *w.stages)
        self.stages = nn.ModuleList(nn.Sequential(unit(steps[i], steps[i + 1], 2), Block(steps[i + 1], w.inner[i])) for i in range(len(STRIDES)))
        self.lateral = nn.ModuleList(nn.Conv2d(width, w.pyramid, 1) for width in w.stages)
        self.smooth = nn.ModuleList(unit(w.pyramid, w.pyramid) for _ in STRIDES)
        heads = [nn.Conv2d(w.pyramid, ANCHORS * ROW, 1) for _ in STRIDES]
        self.heads = nn.ModuleList(heads)
        for head, sides in zip(heads, ANCHOR_SIDES, strict=True):
            _start_at_anchors(head, sides)

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        """Return (B, 30, H / stride, W / stride) per stride: 2 scores, 2 x 4 distances, 2 x 10 offsets."""
        x = self.stem(pictures)
        stages = []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        pyramid = [lateral(x) for lateral, x in zip(self.lateral, stages, strict=True)]
        for level in (1, 0):
            pyramid[level] = pyramid[level] + nn.functional.interpolate(pyramid[level + 1], scale_factor=2.0, mode="nearest")
        return [head(smooth(x)) for head, smooth, x in zip(self.heads, self.smooth, pyramid, strict=True)]

    def _columns(self, pictures: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return per stride scores (B, N, 1) as logits, distances (B, N, 4) and offsets (B, N, 10), in units of half an anchor's side."""
        columns = []
        for each in self._maps(pictures):
            batch = each.shape[0]
            parts = each.permute(0, 2, 3, 1).split([ANCHORS, ANCHORS * 4, ANCHORS * 10], dim=3)
            columns.append(tuple(part.reshape(batch, -1, size) for part, size in zip(parts, (1, 4, 10), strict=True)))
        return columns

    def rows(self, pictures: Tensor) -> Rows:
        """Return all anchors' rows in pixels, for training."""
        columns = self._columns(pictures)
        sizes = [torch.tensor(sides, device=pictures.device) / 2 for sides in ANCHOR_SIDES]
        scale = torch.cat([half.repeat(scores.shape[1] // ANCHORS) for half, (scores, _, _) in zip(sizes, columns, strict=True)])[:, None]
        scores, distances, offsets = (torch.cat([level[i] for level in columns], dim=1).float() for i in range(3))
        return Rows(scores[..., 0], distances * scale, offsets * scale)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the nine outputs of a batch of one."""
        columns = self._columns(picture)
        scores = [torch.sigmoid(scores).reshape(-1, 1) for scores, _, _ in columns]
        distances, offsets = ([level[i].reshape(-1, size) for level in columns] for i, size in ((1, 4), (2, 10)))
        return (*scores, *distances, *offsets)


def _start_at_anchors(head: nn.Conv2d, sides: tuple[int, ...]) -> None:
    """Let a new head say: no face (probability 0.01), and if one, then the anchor's own square, all points in its centre."""
    nn.init.normal_(head.weight, std=0.01)
    bias = head.get_parameter("bias")
    with torch.no_grad():
        bias.zero_()
        bias[:ANCHORS] = -4.6
        bias[ANCHORS : ANCHORS * 5] = 1.0


def folded(network: FaceNetwork) -> FaceNetwork:
    """Return a copy for export: batch norm folded into the convolutions, anchors' sizes into the heads, so that distances are in strides."""
    network = copy.deepcopy(network).eval()
    for parent in network.modules():
        if isinstance(parent, nn.Sequential) and len(parent) >= 2:
            convolution, norm = parent[0], parent[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent[0], parent[1] = nn.utils.fusion.fuse_conv_bn_eval(convolution, norm), nn.Identity()
    with torch.no_grad():
        for head, stride, sides in zip(network.heads, STRIDES, ANCHOR_SIDES, strict=True):
            half = torch.tensor(sides) / 2 / stride
            scale = torch.cat([torch.ones(ANCHORS), half.repeat_interleave(4), half.repeat_interleave(10)])
            head.get_parameter("weight").mul_(scale[:, None, None, None])
            head.get_parameter("bias").mul_(scale)
    return network
