"""Two public-domain portraits that ship inside packages, and how to make them talk.

A figure is a portrait placed in a panel. Its head sways, its eyes blink and its lips part by a smooth displacement of the pixels; where
the lips have parted, the dark of the mouth shows. Landmarks were read off the pictures once and stand here as numbers.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.errors import NotFound

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Field = NDArray[np.float32]  # (H, W)
Point = tuple[float, float]
View = tuple[float, float, float, float]  # left, top, right, bottom

MOUTH_COLOUR = np.array([48.0, 14.0, 14.0], dtype=np.float32)
TEETH_COLOUR = np.array([205.0, 192.0, 180.0], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph of one person: where it is found and where its features lie, in pixels of the photograph.

    `lips` are the left corner, the middle and the right corner of the line along which the lips part. `view` is the part of the picture
    that makes a good 16:9 shot, `close_view` one for half of a split screen; beyond the picture's sides the border is mirrored.
    """

    name: str
    package: str
    resource: str
    credit: str
    eyes: tuple[Point, Point]
    lips: tuple[Point, Point, Point]
    chin: Point
    head: tuple[Point, Point]  # centre, half axes
    view: View
    close_view: View
    shows_teeth: bool  # already in the photograph, so that none are drawn


PORTRAITS = {
    "collins": Portrait(
        name="collins",
        package="skimage",
        resource="data/astronaut.png",
        credit="Eileen Collins, NASA, public domain (scikit-image)",
        eyes=((203.0, 101.4), (246.0, 104.0)),
        lips=((203.0, 140.0), (223.0, 149.6), (244.0, 140.8)),
        chin=(225.0, 178.0),
        head=((226.0, 105.0), (62.0, 84.0)),
        view=(0.0, 0.0, 512.0, 288.0),
        close_view=(110.0, 5.0, 342.0, 266.0),
        shows_teeth=True,
    ),
    "hopper": Portrait(
        name="hopper",
        package="matplotlib",
        resource="mpl-data/sample_data/grace_hopper.jpg",
        credit="Grace Hopper, James S. Davis, US Navy, public domain (matplotlib)",
        eyes=((221.0, 190.0), (307.0, 187.5)),
        lips=((227.0, 281.6), (266.5, 280.0), (306.0, 277.8)),
        chin=(266.5, 329.0),
        head=((265.0, 205.0), (108.0, 150.0)),
        view=(-76.0, 12.0, 600.0, 392.25),
        close_view=(82.0, 10.0, 450.0, 424.0),
        shows_teeth=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Pose:
    """What a face does at one instant. All zero is the photograph as it was taken."""

    opening: float = 0.0  # 0 closed .. 1 wide open
    rounding: float = 0.0  # -1 spread .. 1 rounded
    sway: Point = (0.0, 0.0)  # shift of the head as a share of its half width
    blink: float = 0.0  # 0 open .. 1 shut


def load_portrait(name: str) -> Picture:
    """Return the photograph (H, W, 3) RGB.

    Raises:
        NotFound: the package that carries it is not installed.
    """
    portrait = PORTRAITS[name]
    spec = importlib.util.find_spec(portrait.package)  # found, not imported: matplotlib takes half a second and wants a home folder
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / portrait.resource
        if path.is_file():
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is not None:
                return np.ascontiguousarray(picture[:, :, ::-1])
    raise NotFound(f"the demo portrait {name} comes with the package {portrait.package}, which is not installed: pip install 'rollcall[demo]'")


def take_view(picture: Picture, view: View, size_wh: tuple[int, int]) -> Picture:
    """Return the (height, width, 3) picture of a rectangle of `picture`, scaled to `size_wh`; beyond the border the picture is mirrored."""
    left, top, right, bottom = view
    scale_x, scale_y = size_wh[0] / (right - left), size_wh[1] / (bottom - top)
    matrix = np.array([[scale_x, 0, (0.5 - left) * scale_x - 0.5], [0, scale_y, (0.5 - top) * scale_y - 0.5]])
    smaller = max(scale_x, scale_y) < 1
    if smaller:  # a patch that shrinks must not alias
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / max(scale_x, scale_y)).astype(np.uint8)
    flags = cv2.INTER_LINEAR if smaller else cv2.INTER_CUBIC
    return cv2.warpAffine(picture, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)


class Figure:
    """A portrait in a panel of a given size; `draw` gives the panel with the face in a pose."""

    def __init__(self, portrait: Portrait, picture: Picture, view: View, size_wh: tuple[int, int]) -> None:
        self.portrait = portrait
        self._still = take_view(picture, view, size_wh)
        scale, place = size_wh[0] / (view[2] - view[0]), np.array(view[:2])

        def put(point: Point) -> NDArray[np.float32]:
            return np.asarray((np.array(point) - place) * scale, dtype=np.float32)

        centre, axes = put(portrait.head[0]), np.array(portrait.head[1], dtype=np.float32) * scale
        # Only the surroundings of the head move: 1.7 half axes, inside the panel.
        low = np.maximum(np.floor(centre - 1.7 * axes), 0).astype(int)
        high = np.minimum(np.ceil(centre + 1.7 * axes), size_wh).astype(int)
        self._region = (slice(low[1], high[1]), slice(low[0], high[0]))
        self._ys, self._xs = np.mgrid[self._region].astype(np.float32)
        self._head_half_width = float(axes[0])
        distance = np.hypot((self._xs - centre[0]) / axes[0], (self._ys - centre[1]) / axes[1])
        self._head_weight = _fall(distance, 1.0, 1.65)
        self._lips = _lip_fields(self._xs, self._ys, [put(p) for p in portrait.lips], put(portrait.chin))
        self._lids = _lid_field(self._xs, self._ys, [put(p) for p in portrait.eyes])

    @property
    def still(self) -> Picture:
        """The panel as a photograph, in which nothing moves. A view, not to be changed."""
        return self._still

    def draw(self, pose: Pose) -> Picture:
        """Return the panel (H, W, 3) with the face in `pose`."""
        lips = self._lips
        shift_x, shift_y = (amount * self._head_half_width * self._head_weight for amount in pose.sway)
        drop = pose.opening * 0.62 * lips.half_width
        opened = np.float32(drop) * (lips.lower - np.float32(0.22) * lips.upper)  # by how much a pixel has come down, negative for the upper lip
        offset = lips.offset - shift_y
        source_offset = np.asarray(offset - opened, dtype=np.float32)
        parted = (lips.inside & ((offset > 0) != (source_offset > 0))).astype(np.float32)
        map_x = self._xs - shift_x + pose.rounding * 0.22 * lips.sideways
        map_y = self._ys - shift_y - opened - pose.blink * self._lids
        face = cv2.remap(self._still, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)
        panel = self._still.copy()
        panel[self._region] = self._fill_mouth(face, parted, source_offset, drop)
        return panel

    def _fill_mouth(self, face: Picture, parted: Field, source_offset: Field, drop: float) -> Picture:
        """Return the face with the dark of the mouth where the lips have parted, and the upper teeth where the photograph has none."""
        if drop < 0.5 or not parted.any():
            return face
        rows, columns = np.nonzero(parted)
        part = (slice(max(0, rows.min() - 4), rows.max() + 5), slice(max(0, columns.min() - 4), columns.max() + 5))
        cover = cv2.GaussianBlur(parted[part], (0, 0), 1.2)[..., None]  # soft edges, as a camera makes them
        colour = np.broadcast_to(MOUTH_COLOUR, (*cover.shape[:2], 3)).copy()
        if not self.portrait.shows_teeth:
            teeth = _fall((source_offset[part] + drop) / max(drop, 1.0), 0.12, 0.34) * _fall(np.abs(self._lips.across[part]), 0.45, 0.75)
            colour += teeth[..., None] * (TEETH_COLOUR - MOUTH_COLOUR) * min(1.0, drop / (0.3 * self._lips.half_width))
        mixed = face.copy()
        mixed[part] = np.clip(face[part] * (1 - cover) + colour * cover, 0, 255).astype(np.uint8)
        return mixed


@dataclass(frozen=True, slots=True, eq=False)
class _LipFields:
    """How the region of the head moves when the lips part; all fields are (H, W)."""

    half_width: float
    across: Field  # -1 left corner .. 1 right corner
    offset: Field  # pixels below the line of the lips
    inside: NDArray[np.bool_]  # between the corners
    lower: Field  # 0..1: share of the drop by which what lies below moves down
    upper: Field  # likewise up
    sideways: Field  # pixels towards the middle when the lips are rounded


def _lip_fields(xs: Field, ys: Field, lips: list[NDArray[np.float32]], chin: NDArray[np.float32]) -> _LipFields:
    """Return the fields of a mouth: the lower lip and the jaw drop together, the upper lip rises a little, the corners stay."""
    left, middle, right = lips
    half_width = float(right[0] - left[0]) / 2
    across = (xs - (left[0] + right[0]) / 2) / half_width
    chord = left[1] + (right[1] - left[1]) * (across + 1) / 2
    sag = float(middle[1] - (left[1] + right[1]) / 2)
    offset = (ys - chord - sag * np.clip(1 - across**2, -0.5, 1)).astype(np.float32)
    lens = np.sqrt(np.clip(1 - across**2, 0, 1))
    near = np.exp(-np.clip(offset, 0, None) / (0.55 * half_width))
    jaw = np.exp(-((across / 1.5) ** 2))
    depth = float(chin[1] - middle[1])
    lower = np.where(offset > 0, (near * lens + (1 - near) * jaw) * _fall(offset / depth, 0.9, 1.9), 0)
    upper = np.where(offset <= 0, lens * np.exp(-np.clip(-offset, 0, None) / (0.35 * half_width)), 0)
    sideways = across * half_width * np.exp(-((across / 1.3) ** 2) - (offset / (0.9 * half_width)) ** 2)
    return _LipFields(
        half_width=half_width,
        across=across.astype(np.float32),
        offset=offset,
        inside=np.abs(across) < 1,
        lower=lower.astype(np.float32),
        upper=upper.astype(np.float32),
        sideways=sideways.astype(np.float32),
    )


def _lid_field(xs: Field, ys: Field, eyes: list[NDArray[np.float32]]) -> Field:
    """Return by how many pixels the skin above each eye comes down when it shuts, (H, W)."""
    apart = float(np.hypot(*(eyes[1] - eyes[0])))
    field = np.zeros_like(xs)
    for x, y in eyes:
        field += 0.12 * apart * np.exp(-(((xs - x) / (0.24 * apart)) ** 2) - ((ys - y) / (0.09 * apart)) ** 2)
    return field.astype(np.float32)


def _fall(values: NDArray[np.floating], start: float, end: float) -> Field:
    """Return 1 below `start`, 0 above `end`, and a smooth step between."""
    share = np.clip((end - values) / (end - start), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)
