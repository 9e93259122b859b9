"""Faces of a picture: letterbox, network, decoding, suppression and choice, the same for every detector.

What differs between detectors is in `scrfd.py` and `yunet.py`; what a file wants is in its manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.errors import ModelMismatch
from asd_core.faces.scrfd import decode_scrfd
from asd_core.faces.yunet import decode_yunet
from asd_core.geometry import box_centres, box_iou
from asd_core.models.manifest import InputFormat
from asd_core.models.network import Network, OpenNetwork
from asd_core.models.registry import Model
from asd_core.records import Detections

Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
Decode = Callable[[Mapping[str, NDArray[Any]], tuple[int, int], float], Rows]
KINDS: Mapping[str, Decode] = {"scrfd": decode_scrfd, "yunet": decode_yunet}

CELL = 32  # the coarsest stride: canvases are multiples of it
SECOND_LOOK_SCALE = 0.5
SECOND_LOOK_MARGIN = 0.12  # of the shrunken picture's size, on each side: the network finds a face better that does not touch the edge


class Detector:
    """A detector with its thresholds.

    Attributes:
        input_size_wh: largest canvas of the network for a landscape picture; a portrait picture takes it turned by 90 degrees.
        score_threshold: score from which a detection stands by itself.
        low_score: detections from here on are returned too, for the second round of tracking; the caller separates them by score.
    """

    def __init__(
        self,
        network: Network,
        decode: Decode,
        form: InputFormat,
        *,
        input_size_wh: tuple[int, int],
        score: float,
        low: float,
        nms_iou: float,
        second_look: bool,
    ) -> None:
        self.input_size_wh = input_size_wh
        self.score_threshold = score
        self.low_score = low
        self.second_look = second_look
        self._network = network
        self._decode = decode
        self._form = form
        self._nms_iou = nms_iou

    def fitted_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) at which a picture of this size enters the network: a picture handed over so is not scaled again."""
        limit = self.input_size_wh if width >= height or not self._form.free_size else self.input_size_wh[::-1]
        ratio = min(limit[0] / width, limit[1] / height)
        return max(1, round(width * ratio)), max(1, round(height * ratio))

    def detect(self, picture: NDArray[np.uint8], *, top: int | None = None, by: Literal["area", "centre"] = "area") -> Detections:
        """Return the faces of a picture in its own pixels, highest score first; none found gives an empty record.

        Args:
            picture: (H, W, 3) uint8 RGB of any size.
            top: keep at most so many, None for all.
            by: which to keep: the largest, or those nearest to the picture's centre (as in InsightFace's "max" and "center").
        """
        height, width = picture.shape[:2]
        size_wh = self.fitted_size(width, height)
        found = self._look(picture, size_wh, (0, 0), self._canvas(size_wh))
        if self.second_look and not (found.scores >= self.score_threshold).any():
            # Networks with batch normalisation lose a face that covers over 40 % of the picture; smaller and with a margin it is found.
            size_wh = max(1, round(size_wh[0] * SECOND_LOOK_SCALE)), max(1, round(size_wh[1] * SECOND_LOOK_SCALE))
            margin = round(size_wh[0] * SECOND_LOOK_MARGIN), round(size_wh[1] * SECOND_LOOK_MARGIN)
            wider = self._look(picture, size_wh, margin, self._canvas((size_wh[0] + 2 * margin[0], size_wh[1] + 2 * margin[1])))
            found = wider if (wider.scores >= self.score_threshold).any() else found
        return found if top is None or len(found) <= top else _pick(found, choose_top(found, (width, height), top=top, by=by))

    def _canvas(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        if not self._form.free_size:
            return self._form.size_wh
        return -(-size_wh[0] // CELL) * CELL, -(-size_wh[1] // CELL) * CELL

    def _look(self, picture: NDArray[np.uint8], size_wh: tuple[int, int], corner: tuple[int, int], canvas_wh: tuple[int, int]) -> Detections:
        height, width = picture.shape[:2]
        if (width, height) != size_wh:
            shrinks = size_wh[0] < width
            picture = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.uint8, copy=False)
        feeds = {self._form.name: network_input(picture, self._form, corner, canvas_wh)}
        boxes, scores, points = self._decode(self._network.run(feeds), canvas_wh, self.low_score)
        kept = suppress(boxes, scores, self._nms_iou)
        ratio = np.array([width / size_wh[0], height / size_wh[1]], np.float32)
        shift = np.array(corner, np.float32)
        return Detections(
            ((boxes[kept].reshape(-1, 2, 2) - shift) * ratio).reshape(-1, 4).astype(np.float32),
            scores[kept].astype(np.float32),
            ((points[kept] - shift) * ratio).astype(np.float32),
        )


def open_detector(
    model: Model,
    open_network: OpenNetwork,
    *,
    input_size_wh: tuple[int, int] | None = None,
    score_threshold: float | None = None,
    low_score: float | None = None,
    second_look: bool = True,
) -> Detector:
    """Return a detector on a model's file; what is None is as the manifest says.

    Args:
        model: a model of role `detector`.
        open_network: how to load a file.
        input_size_wh: largest network input for landscape pictures, multiples of 32.
        score_threshold: score from which a detection stands by itself.
        low_score: lowest score returned.
        second_look: look again at half size where nothing is found (costs 0.4 of a pass more on such pictures).

    Raises:
        ModelMismatch: no code reads this kind of output, or the file does not take the size.
    """
    manifest = model.manifest
    if manifest.kind not in KINDS:
        raise ModelMismatch(f"{manifest.name} is a detector of kind {manifest.kind!r}; known kinds: {', '.join(KINDS)}")
    size = input_size_wh or manifest.input.size_wh
    if not manifest.input.free_size and size != manifest.input.size_wh:
        raise ModelMismatch(f"{manifest.name} takes {manifest.input.size_wh} only, not {size}")
    if size[0] % CELL or size[1] % CELL:
        raise ModelMismatch(f"the input size of {manifest.name} must be multiples of {CELL}, got {size}")
    score = manifest.threshold("score") if score_threshold is None else score_threshold
    low = manifest.threshold("low_score") if low_score is None else low_score
    return Detector(
        open_network(model.paths["network"]),
        KINDS[manifest.kind],
        manifest.input,
        input_size_wh=size,
        score=score,
        low=min(low, score),
        nms_iou=manifest.threshold("nms_iou"),
        second_look=second_look,
    )


def network_input(picture: NDArray[np.uint8], form: InputFormat, corner: tuple[int, int], canvas_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Return the (1, 3, H, W) input of a network: the RGB picture at `corner` (x, y) of a black canvas, channels and scale as `form` says."""
    height, width = picture.shape[:2]
    planes = cv2.split(picture)
    order = (0, 1, 2) if form.channels == "rgb" else (2, 1, 0)
    feed = np.empty((1, 3, canvas_wh[1], canvas_wh[0]), np.float32)
    whole = (width, height) == canvas_wh
    for plane, channel in enumerate(order):
        mean, scale = form.mean[plane], form.scale[plane]
        target = feed[0, plane]
        if not whole:
            target.fill((0 - mean) / scale)
            target = target[corner[1] : corner[1] + height, corner[0] : corner[0] + width]
        np.multiply(planes[channel], np.float32(1 / scale), out=target)
        target -= np.float32(mean / scale)
    return feed


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> NDArray[np.int64]:
    """Return the indices that survive greedy non-maximum suppression, highest score first.

    A box falls when it overlaps a kept one by more than `iou`. Equal scores are ordered by their coordinates, so that the result does not
    depend on the order of the rows. Empty in, empty out.
    """
    order = np.lexsort((*boxes.T[::-1], -scores)) if len(boxes) else np.zeros(0, np.int64)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[box_iou(boxes[best : best + 1], boxes[rest])[0] <= iou]
    return np.array(kept, np.int64)


def choose_top(found: Detections, size_wh: tuple[int, int], *, top: int, by: Literal["area", "centre"]) -> NDArray[np.int64]:
    """Return the indices of at most `top` detections, largest area or nearest to the picture's centre, in the order of `found`."""
    if by == "area":
        cost = -(found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1)
    else:
        cost = np.square(box_centres(found.boxes) - np.array(size_wh, np.float32) / 2).sum(axis=1)
    return np.sort(np.argsort(cost, kind="stable")[:top])


def _pick(found: Detections, chosen: NDArray[np.int64]) -> Detections:
    return Detections(found.boxes[chosen], found.scores[chosen], found.landmarks[chosen])
