"""One decoded picture and the small images that are asked of it: scaled wholes and warped patches, in grey or colour.

Full frames are never converted, turned or copied: planes are views of what the decoder wrote, each is scaled or warped first, and range,
matrix and depth are resolved on the few pixels that remain. Rotation and sample aspect are folded into the maps. Formats that are no
planar YUV are converted once, when first looked at.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from asd_core.geometry import Affine, compose
from asd_core.records import VideoTrack
from asd_core.timeline import instant_time

GREY = 110  # what a patch shows outside the picture, as in the crops that the speaking networks were trained on
_HD_HEIGHT = 720  # lines from which an unmarked picture is taken for BT.709
_LUMA_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}  # ITU-T H.273: red, blue
_BT601 = (0.299, 0.114)
_SMALL = 256 * 256  # pixels
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}

Plane = NDArray[Any]  # (h, w) uint8, or uint16 for more than eight bits


class Picture:
    """The planes of one decoded frame and how they map to the upright, square-pixel picture. Holds the decoder's buffer alive."""

    __slots__ = ("_depth", "_frame", "_full_range", "_planes", "_track", "_weights")

    def __init__(self, frame: VideoFrame, track: VideoTrack) -> None:
        self._frame = frame
        self._track = track
        self._planes: tuple[Plane, ...] | None = None
        self._depth = 8
        self._full_range = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        unmarked = (1 if frame.height >= _HD_HEIGHT else 5) if frame.colorspace in {0, 2} else int(frame.colorspace)
        self._weights = _LUMA_WEIGHTS.get(unmarked, _BT601)

    def luma(self, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the whole upright picture in grey, (h, w) of full range."""
        y = _scale(self._look()[0], self._turned(size_wh))
        return self._upright(_to_full(_to_eight(y, self._depth), self._full_range))

    def colour(self, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the whole upright picture in colour, (h, w, 3) RGB."""
        size = self._turned(size_wh)
        return self._upright(self._to_rgb([_to_eight(_scale(plane, size), self._depth) for plane in self._look()]))

    def warp_luma(self, matrix: Affine, size: int) -> NDArray[np.uint8]:
        """Return a (size, size) grey patch; `matrix` maps upright pixels to patch pixels. Outside lies `GREY`."""
        y = self._look()[0]
        region, to_region = _crop(y, compose(self._to_coded(), _inverse(matrix)), size)
        if region is None:
            return np.full((size, size), GREY, np.uint8)
        return _warp(_to_full(_to_eight(region, self._depth), self._full_range), to_region, size, GREY)

    def warp_colour(self, matrix: Affine, size: int) -> NDArray[np.uint8]:
        """Return a (size, size, 3) RGB patch; `matrix` maps upright pixels to patch pixels. Outside is black."""
        planes = self._look()
        to_coded = compose(self._to_coded(), _inverse(matrix))
        patches = []
        for index, plane in enumerate(planes):
            region, to_region = _crop(plane, compose(self._subsampling(plane), to_coded), size)
            outside = 128 if index else (0 if self._full_range else 16)
            patches.append(
                np.full((size, size), outside, np.uint8) if region is None else _warp(_to_eight(region, self._depth), to_region, size, outside)
            )
        return self._to_rgb(patches)

    def _look(self) -> tuple[Plane, ...]:
        """Return luma, or luma and both chroma planes, as views."""
        if self._planes is None:
            depth = _planar_depth(self._frame.format.name)
            if depth is None or any(plane.line_size <= 0 for plane in self._frame.planes):
                self._frame = self._convert(self._frame)
                depth = 8
            self._depth = depth
            self._planes = tuple(_view(plane, depth) for plane in self._frame.planes[: 1 if len(self._frame.planes) < 3 else 3])
        return self._planes

    def _convert(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame as planar YUV of 8 bits, in a range and matrix that are known."""
        self._full_range, self._weights = False, _BT601
        return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)

    def _turned(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        return (size_wh[1], size_wh[0]) if self._track.rotation in {90, 270} else size_wh

    def _upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turn = _TURNS.get(self._track.rotation)
        return image if turn is None else np.asarray(cv2.rotate(image, turn), np.uint8)

    def _to_coded(self) -> Affine:
        """Return the map from pixels of the upright picture to pixels of the luma plane."""
        return _upright_to_coded(self._track.width, self._track.height, self._frame.width, self._frame.height, self._track.rotation)

    def _subsampling(self, plane: Plane) -> Affine:
        """Return the map from luma pixels to pixels of a plane; subsampled chroma sits on every second luma column, between two rows."""
        across = round(self._frame.width / plane.shape[1])
        down = round(self._frame.height / plane.shape[0])
        return np.array([[1 / across, 0, 0], [0, 1 / down, (1 / down - 1) / 2]])

    def _to_rgb(self, planes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        if len(planes) == 1:
            return np.asarray(cv2.cvtColor(_to_full(planes[0], self._full_range), cv2.COLOR_GRAY2RGB), np.uint8)
        return np.asarray(cv2.transform(cv2.merge(planes), _rgb_matrix(self._weights, self._full_range)), np.uint8)


class Frame:
    """The picture at one grid instant. Several may share one decoded picture; each stays valid for as long as it is kept."""

    __slots__ = ("_picture", "height", "instant", "width")

    def __init__(self, instant: int, picture: Picture, track: VideoTrack) -> None:
        self.instant = instant
        self.width = track.width
        self.height = track.height
        self._picture = picture

    @property
    def time(self) -> float:
        """Return the instant's time in seconds."""
        return instant_time(self.instant)

    def luma(self, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the whole upright picture in grey, (h, w) of full range, averaged over areas where it shrinks."""
        return self._picture.luma(size_wh)

    def picture(self, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the whole upright picture, (h, w, 3) RGB, averaged over areas where it shrinks."""
        return self._picture.colour(size_wh)

    def warp_luma(self, matrix: Affine, size: int) -> NDArray[np.uint8]:
        """Return a (size, size) grey patch.

        Args:
            matrix: (2, 3) map from pixels of the upright picture to pixels of the patch, pixel centres at whole numbers.
            size: side of the patch. Outside the picture it shows `GREY`; where it shrinks more than twice it is averaged first.
        """
        return self._picture.warp_luma(matrix, size)

    def warp_colour(self, matrix: Affine, size: int) -> NDArray[np.uint8]:
        """Return a (size, size, 3) RGB patch, as `warp_luma` does; outside the picture it is black."""
        return self._picture.warp_colour(matrix, size)


@functools.lru_cache(maxsize=64)
def _planar_depth(name: str) -> int | None:
    """Return the bits of a sample where planes can be used as they are: planar YUV or grey in native byte order. Else None."""
    order = "le" if sys.byteorder == "little" else "be"
    for head in ("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "gray"):
        rest = name.removeprefix(head)
        if rest == name:
            continue
        if not rest:
            return 8
        bits = rest.removesuffix(order)
        if rest.endswith(order) and bits.isdigit() and 8 < int(bits) <= 16:
            return int(bits)
    return 8 if name in {"yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p"} else None


def _view(plane: object, depth: int) -> Plane:
    """Return a plane's pixels without its padding, as a view."""
    line, width, height = plane.line_size, plane.width, plane.height  # type: ignore[attr-defined]
    dtype = np.uint8 if depth == 8 else np.uint16
    rows = np.frombuffer(plane, dtype, count=line // dtype().itemsize * height)  # type: ignore[call-overload]
    return np.asarray(rows.reshape(height, -1)[:, :width])


@functools.lru_cache(maxsize=64)
def _upright_to_coded(width: int, height: int, coded_width: int, coded_height: int, rotation: int) -> Affine:
    """Return the map from upright to coded pixels: edges on edges, the coded picture turned clockwise by `rotation`."""
    if rotation in {0, 180}:
        x, y = coded_width / width, coded_height / height
        edges = np.array([[x, 0, 0], [0, y, 0]]) if rotation == 0 else np.array([[-x, 0, coded_width], [0, -y, coded_height]])
    else:
        x, y = coded_width / height, coded_height / width
        edges = np.array([[0, x, 0], [-y, 0, coded_height]]) if rotation == 90 else np.array([[0, -x, coded_width], [y, 0, 0]])
    edges[:, 2] += edges[:, :2].sum(axis=1) / 2 - 0.5  # from edges to pixel centres at whole numbers
    return edges


def _inverse(matrix: Affine) -> Affine:
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _crop(plane: Plane, to_plane: Affine, size: int) -> tuple[Plane | None, Affine]:
    """Return the part of a plane that a patch needs, shrunk by a whole factor where the patch shrinks it, and the patch's map to it.

    None where the patch lies outside the plane.
    """
    corners = to_plane @ np.array([[-0.5, size - 0.5, -0.5, size - 0.5], [-0.5, -0.5, size - 0.5, size - 0.5], [1, 1, 1, 1]])
    step = np.sqrt(abs(np.linalg.det(to_plane[:, :2])))  # pixels of the plane to one of the patch
    factor = int(step) if step >= 2 else 1
    margin = 2 * factor
    left, top = (max(0, int(low)) for low in np.floor(corners.min(axis=1)) - margin)
    right, bottom = (min(limit, int(high)) for limit, high in zip(plane.shape[::-1], np.ceil(corners.max(axis=1)) + margin + 1, strict=True))
    if factor > 1:  # whole blocks only; what is left over at the picture's edge is less than a pixel of the patch
        left, right = _whole_blocks(left, right, plane.shape[1], factor)
        top, bottom = _whole_blocks(top, bottom, plane.shape[0], factor)
    if right <= left or bottom <= top:
        return None, to_plane
    region = plane[top:bottom, left:right]
    if factor > 1:
        region = cv2.resize(region, ((right - left) // factor, (bottom - top) // factor), interpolation=cv2.INTER_AREA)
    to_region = to_plane.copy()
    to_region[:, 2] -= np.array([left, top]) + (factor - 1) / 2  # centre of the first block
    return region, to_region / factor


def _whole_blocks(low: int, high: int, limit: int, factor: int) -> tuple[int, int]:
    """Return the bounds with a length that `factor` divides, cut on the side that does not touch the plane's end."""
    rest = (high - low) % factor if high > low else 0
    return (low + rest, high) if high == limit and low > 0 else (low, high - rest)


def _warp(region: NDArray[np.uint8], to_region: Affine, size: int, outside: int) -> NDArray[np.uint8]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(region, to_region, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=outside)
    return np.asarray(patch, np.uint8)


def _scale(plane: Plane, size_wh: tuple[int, int]) -> Plane:
    """Return the plane at another size: averaged over areas where it shrinks, linear where it grows."""
    height, width = plane.shape
    if (width, height) == size_wh:
        return plane
    # Halving is quick (0.07 ms for 1080p, a factor of three costs 0.9) and, with even sides, exact; it is left when less than two remains.
    while height % 2 == 0 and width % 2 == 0 and width >= 2 * size_wh[0] and height >= 2 * size_wh[1]:
        width, height = width // 2, height // 2
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    if (width, height) == size_wh:
        return plane
    # Averaging the last step costs 0.7 ms on half a 1080p picture, linear sampling 0.15: worth it for thumbnails only, where it is cheap.
    average = width > 2 * size_wh[0] or height > 2 * size_wh[1] or width * height <= _SMALL
    return cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA if average else cv2.INTER_LINEAR)


def _to_eight(image: Plane, depth: int) -> NDArray[np.uint8]:
    return image if image.dtype == np.uint8 else np.asarray(cv2.convertScaleAbs(image, alpha=1 / (1 << (depth - 8))), np.uint8)


_TO_FULL = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def _to_full(image: NDArray[np.uint8], full_range: bool) -> NDArray[np.uint8]:
    """Return grey values over 0..255; a copy unless they already are and own their memory."""
    if full_range:
        return image if image.base is None else image.copy()
    return np.asarray(cv2.LUT(image, _TO_FULL), np.uint8)


@functools.lru_cache(maxsize=16)
def _rgb_matrix(weights: tuple[float, float], full_range: bool) -> NDArray[np.float32]:
    """Return the (3, 4) map from (Y, U, V) of 8 bits to RGB. Source: ITU-T H.273, equations 38 to 43."""
    red, blue = weights
    green = 1 - red - blue
    luma, chroma, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    turned = np.array(
        [
            [luma, 0, 2 * (1 - red) * chroma],
            [luma, -2 * blue * (1 - blue) / green * chroma, -2 * red * (1 - red) / green * chroma],
            [luma, 2 * (1 - blue) * chroma, 0],
        ]
    )
    return np.column_stack([turned, turned @ np.array([-black, -128.0, -128.0])]).astype(np.float32)
