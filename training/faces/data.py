"""Training crops without end: views of the pictures at any size, alone or in mosaics, some faces exchanged, then spoilt as broadcasts are.

Source of the size range: SCRFD's sample redistribution (Guo et al. 2021), here by the size a chosen face gets rather than by the crop's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from asd_core.geometry import ARCFACE_TEMPLATE, similarity
from training.faces.looks import spoil, tint
from training.faces.loss import Targets
from training.faces.prepare import MIRRORED_POINTS, Faces, Material, aside, read_rgb

SURE, DOUBTFUL = 0.66, 0.28  # teacher's mean score: a face from the first, background under the second; between: raised hands, hidden faces
SURE_TURNED = 0.5  # the same for a turned face, of which the teacher is never as sure
OFTENER = 9.0  # a face in full profile is drawn so many times as often as a frontal one: of those there are thirty times more
SMALLEST = 11.0  # pixels of the longer side; a smaller face is neither face nor background
NARROWEST = 8.0  # pixels of the shorter side
POINTED = 16.0  # pixels of the longer side from which the points are learnt
SEEN = 0.45  # share of a face that must be in the picture; with less it is neither face nor background
ENLARGED = 2.0  # at most, against the stored picture
COVERED = 0.9, 0.5  # share of the view, along one side at least, that a scene or a track fills: small faces come from crowds and mosaics
LEVELS = 3  # halved copies of a picture, so that no view is shrunken by more than two at once
EXCHANGED = 0.35  # how often a near-frontal face is exchanged for a chip's
EXCHANGED_APART = 0.07  # of the face's side: how far the points of a face may lie from the chip's, so that only near-frontal faces are exchanged
SQUEEZED = 0.25, (0.72, 1.1)  # how often, and within what, a view is narrowed or widened: heads differ, and a turned one is narrower
SHARES = {"face": 0.34, "big": 0.14, "mosaic": 0.32, "empty": 0.2}


@dataclass(frozen=True, slots=True)
class Source:
    """A decoded picture with halved copies and its labels."""

    levels: Sequence[NDArray[np.uint8]]  # (H, W, 3), or (H, W) of a grey track
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    sure: NDArray[np.bool_]
    grey: bool


@dataclass(slots=True)
class Crop:
    """A crop in the making: its picture and the faces in it so far."""

    picture: NDArray[np.uint8]  # (H, W, 3)
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    learnt: NDArray[np.bool_]


class Crops:
    """Draws training crops from the material.

    Args:
        material: pictures and chips.
        rng: all choices come from it.
    """

    def __init__(self, material: Material, rng: np.random.Generator) -> None:
        self._rng = rng
        self._chips = [read_rgb(chip) for chip in material.chips]
        self._mask = _oval(112, (56, 66), (44, 52))
        sources = [_source(picture.jpeg, picture.kind == "track", picture.faces) for picture in material.pictures]
        self._scenes = _Faces([source for source in sources if not source.grey])
        self._tracks = _Faces([source for source in sources if source.grey])
        self._empty = [source for source in sources if not source.grey and source.scores.max(initial=0) < DOUBTFUL]

    def batch(self, count: int, side: int) -> tuple[Tensor, Targets]:
        """Return `count` crops (count, 3, side, side) as the network takes them, and their faces."""
        crops = [self.crop(side) for _ in range(count)]
        pictures = torch.from_numpy(np.stack([crop.picture for crop in crops])).permute(0, 3, 1, 2)  # channels last in memory
        boxes = np.concatenate([crop.boxes for crop in crops])
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
        owners = np.repeat(np.arange(count), [len(crop.boxes) for crop in crops])
        points = np.concatenate([crop.points for crop in crops]).reshape(-1, 10)
        learnt = np.concatenate([crop.learnt for crop in crops])
        targets = Targets(*(torch.from_numpy(each) for each in (owners, boxes, points, learnt, sides >= POINTED)))
        return pictures.to(torch.bfloat16).sub_(127.5).div_(128), targets  # what the first convolution would round them to

    def crop(self, side: int) -> Crop:
        """Return one crop of `side` pixels."""
        rng = self._rng
        kind = rng.choice(list(SHARES), p=list(SHARES.values()))
        if kind == "mosaic":
            crop = self._mosaic(side)
        else:
            crop = self._view(side, side, kind)
            self._exchange(crop)
        crop.picture, hidden = spoil(crop.picture, crop.boxes, rng)
        crop.learnt &= ~hidden
        return crop

    def _mosaic(self, side: int) -> Crop:
        """Return a crop of two by two to four by four views with walls at random places."""
        rng = self._rng
        cells = int(rng.choice([2, 3, 4], p=[0.5, 0.3, 0.2]))
        inner = (np.arange(1, cells) + rng.uniform(-0.25, 0.25, (2, cells - 1))) / cells
        walls = np.concatenate([np.zeros((2, 1)), inner, np.ones((2, 1))], axis=1)
        x, y = np.round(walls * side).astype(int)
        picture, parts = np.zeros((side, side, 3), np.uint8), []
        for row in range(cells):
            for column in range(cells):
                part = self._view(x[column + 1] - x[column], y[row + 1] - y[row], rng.choice(["face", "face", "empty"]))
                self._exchange(part)
                picture[y[row] : y[row + 1], x[column] : x[column + 1]] = part.picture
                corner = np.array([x[column], y[row]], np.float32)
                parts.append((part.boxes + np.tile(corner, 2), part.points + corner, part.learnt))
        return Crop(picture, *(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _view(self, width: int, height: int, kind: str) -> Crop:
        """Return a view of one picture, turned, scaled, perhaps mirrored: a face of it somewhere in the view, or anything for "empty"."""
        rng = self._rng
        least = min(width, height)
        angle = math.radians(rng.uniform(-20, 20)) if rng.random() < 0.4 else 0.0
        if kind == "empty":
            source = self._empty[rng.integers(len(self._empty))]
            tall, wide = source.levels[0].shape[:2]
            scale = math.exp(rng.uniform(math.log(0.3), math.log(ENLARGED)))
            centre, target = rng.random(2) * (wide, tall), (width / 2, height / 2)
        else:
            tracks = self._tracks.some and rng.random() < (0.45 if kind == "big" else 0.25)
            source, box = (self._tracks if tracks else self._scenes).draw(rng)
            stored = (box[2:] - box[:2]).max()
            low, high = (0.4, 0.95) if kind == "big" else (12 / least, 0.55)
            wanted = least * math.exp(rng.uniform(math.log(min(low, high)), math.log(high)))
            tall, wide = source.levels[0].shape[:2]
            scale = min(max(wanted / stored, COVERED[source.grey] * min(width / wide, height / tall)), ENLARGED)
            centre = (box[:2] + box[2:]) / 2
            free = np.maximum(0, np.array([width, height]) - 0.5 * wanted) if kind != "big" else np.array([width, height]) * 0.25
            target = (np.array([width, height]) - free) / 2 + rng.random(2) * free
        mirror = rng.random() < 0.5
        often, (narrow, wide) = SQUEEZED
        squeeze = math.exp(rng.uniform(math.log(narrow), math.log(wide))) if rng.random() < often else 1.0
        matrix = _affine((scale * squeeze, scale), angle, mirror, centre, target)
        crop = _warp(source, matrix, self._ground(width, height), mirror)
        if source.grey:
            crop.picture = tint(crop.picture, rng)
        return crop

    def _ground(self, width: int, height: int) -> NDArray[np.uint8] | tuple[int, int]:
        """Return what lies outside a picture in a view: black, a colour, a faceless picture; or only the size, for its own edges smeared."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.3:
            return height, width
        ground = np.zeros((height, width, 3), np.uint8)
        if kind > 0.55:
            ground[:] = rng.integers(0, 256, 3)
        if kind > 0.7:
            other = self._empty[rng.integers(len(self._empty))].levels[0]
            y, x = (int(rng.integers(0, max(1, size - wanted))) for size, wanted in zip(other.shape[:2], (height, width), strict=True))
            part = other[y : y + height, x : x + width]
            ground[: part.shape[0], : part.shape[1]] = part
        return ground

    def _exchange(self, crop: Crop) -> None:
        """Put chips' faces over some near-frontal faces of a crop, in place, with soft edges and the colours of the face below."""
        rng = self._rng
        if not self._chips:
            return
        for number in rng.permutation(len(crop.boxes))[:3]:
            box, points = crop.boxes[number], crop.points[number]
            side = (box[2:] - box[:2]).max()
            if side < POINTED or not crop.learnt[number] or rng.random() >= EXCHANGED:
                continue
            fitted = similarity(ARCFACE_TEMPLATE, points.astype(np.float64))
            if np.abs(ARCFACE_TEMPLATE @ fitted[:, :2].T + fitted[:, 2] - points).max() > EXCHANGED_APART * side:
                continue
            _paste(crop.picture, self._chips[rng.integers(len(self._chips))], self._mask, fitted, box)


def _source(jpeg: bytes, grey: bool, faces: Faces) -> Source:
    picture = read_rgb(jpeg)
    levels = [picture[..., 0].copy() if grey else picture]
    while len(levels) <= LEVELS and min(levels[-1].shape[:2]) >= 32:
        smaller = cv2.resize(levels[-1], (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    sure = faces.scores >= np.where(aside(faces.points) >= 0.3, SURE_TURNED, SURE)
    return Source(levels, faces.boxes, faces.points, faces.scores, sure, grey)


class _Faces:
    """The sure faces of some pictures, to be drawn from: turned ones oftener, those of a crowd less often each."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._faces = [(source, row) for source in sources for row in np.flatnonzero(source.sure)]
        off = [np.clip(aside(source.points[source.sure]) / 0.5, 0, 1) for source in sources]
        weights = np.concatenate([(1 + (OFTENER - 1) * each**2) / math.sqrt(max(1, len(each))) for each in off] or [np.zeros(0)])
        self._reached = np.cumsum(weights)

    @property
    def some(self) -> bool:
        """Return whether there are any."""
        return bool(self._faces)

    def draw(self, rng: np.random.Generator) -> tuple[Source, NDArray[np.float32]]:
        """Return a picture and the box (4,) of one of its faces."""
        source, row = self._faces[int(np.searchsorted(self._reached, rng.random() * self._reached[-1], side="right"))]
        return source, source.boxes[row]


def _affine(scale: tuple[float, float], angle: float, mirror: bool, centre: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Return the (2, 3) transform that scales along x and y, turns and perhaps mirrors about `centre` and puts it at `target`."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) @ np.diag(scale)
    if mirror:
        turn = turn @ np.diag([-1.0, 1.0])
    return np.column_stack([turn, np.asarray(target) - turn @ np.asarray(centre)])


def _warp(source: Source, matrix: NDArray[np.float64], ground: NDArray[np.uint8] | tuple[int, int], mirror: bool) -> Crop:
    """Return a picture and its faces under an affine map, laid on `ground` (H, W, 3), or with smeared edges at a size (H, W)."""
    turn, shift = matrix[:, :2], matrix[:, 2]
    scale = math.sqrt(abs(np.linalg.det(turn)))
    level = min(max(0, int(math.log2(1 / scale))), len(source.levels) - 1) if scale < 1 else 0
    ratio = 2.0**level  # a pixel's centre u of the copy lies at ratio * (u + 0.5) - 0.5 of the picture
    moved = np.column_stack([turn * ratio, shift + turn @ np.full(2, (ratio - 1) / 2)])
    if isinstance(ground, tuple):
        height, width = ground
        picture = cv2.warpAffine(source.levels[level], moved, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    else:
        height, width = ground.shape[:2]
        ground = ground[..., 0].copy() if source.grey else ground
        picture = cv2.warpAffine(source.levels[level], moved, (width, height), ground, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
    centres = (source.boxes[:, :2] + source.boxes[:, 2:]) / 2 @ turn.T + shift
    half = (source.boxes[:, 2:] - source.boxes[:, :2]) / 2  # a face is an ellipse: its turned box is the ellipse's, not the turned corners'
    half = np.sqrt(np.square(half) @ np.square(turn).T)
    points = source.points @ turn.T + shift
    if mirror:
        points = points[:, MIRRORED_POINTS]
    whole = np.concatenate([centres - half, centres + half], axis=1)
    limits = np.array([width, height, width, height])
    boxes = np.clip(whole, 0, limits)
    sides = boxes[:, 2:] - boxes[:, :2]
    seen = sides.prod(axis=1) / np.maximum((whole[:, 2:] - whole[:, :2]).prod(axis=1), 1e-6)
    kept = (seen > 0.03) & (source.scores >= DOUBTFUL)
    large = (sides.max(axis=1, initial=0) >= SMALLEST) & (sides.min(axis=1, initial=width) >= NARROWEST)
    learnt = source.sure & (seen >= SEEN) & large
    return Crop(np.asarray(picture, np.uint8), boxes[kept].astype(np.float32), points[kept].astype(np.float32), learnt[kept])


def _oval(side: int, centre: tuple[int, int], radii: tuple[int, int]) -> NDArray[np.float32]:
    """Return a (side, side) mask, 1 in an ellipse, with soft edges."""
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, centre, radii, 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), 5).astype(np.float32, copy=False)


def _paste(
    picture: NDArray[np.uint8], chip: NDArray[np.uint8], mask: NDArray[np.float32], matrix: NDArray[np.float64], box: NDArray[np.float32]
) -> None:
    """Lay a chip over a face of a picture, in place. `matrix` takes chip pixels to picture pixels."""
    height, width = picture.shape[:2]
    rim = 0.15 * (box[2:] - box[:2])
    x0, y0 = np.maximum(0, np.floor(box[:2] - rim)).astype(int)
    x1, y1 = np.minimum((width, height), np.ceil(box[2:] + rim)).astype(int)
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.5:  # soften before shrinking
        chip = np.asarray(cv2.blur(chip, (round(0.5 / scale) * 2 - 1,) * 2), np.uint8)
    moved = matrix - np.array([[0, 0, x0], [0, 0, y0]])
    laid = cv2.warpAffine(chip, moved, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR).astype(np.float32)
    share = cv2.warpAffine(mask, moved, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)[..., None]
    below = picture[y0:y1, x0:x1].astype(np.float32)
    weight = max(float(share.sum()), 1e-3)
    mean_laid, mean_below = ((share * each).sum(axis=(0, 1)) / weight for each in (laid, below))
    laid += 0.7 * (mean_below - mean_laid)
    picture[y0:y1, x0:x1] = np.clip(below + share * (laid - below), 0, 255).astype(np.uint8)
