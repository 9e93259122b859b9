"""The overlay: the asset's picture with a box and a name at every face, green while it speaks, and a strip of turns below."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.errors import Unsupported
from asd_core.media.probe import probe
from asd_core.records import MediaInfo
from asd_core.timeline import GRID_HZ
from rollcall.exports.rendition import shown_size, write_rendition
from rollcall.exports.words import people_labels, turn_label

Document = dict[str, Any]
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

GREEN: Colour = (46, 204, 113)
RED: Colour = (231, 76, 60)
GREY: Colour = (150, 150, 150)  # stills
STRIP: Colour = (24, 26, 30)
STRIP_TEXT: Colour = (220, 222, 226)
STRIP_SECONDS = 60.0  # what the strip shows at once; it turns its page after that
MOST_LANES = 8
# Told apart by colour-blind readers too (Okabe and Ito 2008).
LANE_COLOURS: tuple[Colour, ...] = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178))
NAME_SHARE = 0.16  # of the strip's width


def write_overlay(source: Path, document: Document | str, target: Path, *, on_progress: Callable[[str, float, float], None] | None = None) -> None:
    """Write the video; `document` may come as text, which is how it reaches a child process.

    Raises:
        Unsupported: the asset has no picture.
        Unreadable: its picture cannot be decoded.
    """
    doc: Document = json.loads(document) if isinstance(document, str) else document
    source, target = Path(source), Path(target)
    info = probe(source)
    if info.video is None:
        raise Unsupported(f"{source.name} has no picture to draw on; --rttm or --json hold its turns")
    overlay = Overlay(doc, info)
    sound = doc["asset"]["audio_track"]
    write_rendition(source, info, target, audio_track=sound, draw=overlay.draw, rows_below=overlay.strip_height, on_progress=on_progress)


class Overlay:
    """Draws what the document says onto pictures of one asset; remembers the strip's present page."""

    def __init__(self, document: Document, info: MediaInfo) -> None:
        assert info.video is not None
        self._width, self._height = shown_size(info.video, None)
        self._labels = people_labels(document)
        self._tracks = document["tracks"]
        self._spoken = _parts_by_track(document)
        self._duration = float(document["asset"]["duration"])
        self._unit = max(12, round(self._height / 36))  # the height of a line of text
        self._lanes = _lanes(document, self._labels)
        self.strip_height = (max(1, len(self._lanes)) * (self._unit + 4) + 8) // 2 * 2
        self._font = cv2.FontFace("sans")  # ships with OpenCV and knows more than ASCII
        self._page: tuple[int, Picture] | None = None

    def draw(self, picture: Picture, time: float) -> Picture:
        """Return the (H + strip, W, 3) picture of that time."""
        canvas = np.empty((self._height + self.strip_height, self._width, 3), np.uint8)
        canvas[: self._height] = picture
        for track in self._tracks:
            if track["start"] <= time < track["end"]:
                self._draw_face(canvas[: self._height], track, time)
        canvas[self._height :] = self._strip(time)
        return canvas

    def _draw_face(self, canvas: Picture, track: dict[str, Any], time: float) -> None:
        instant = min(max(round((time - track["start"]) * GRID_HZ), 0), len(track["boxes"]) - 1)
        x1, y1, x2, y2 = (round(value) for value in track["boxes"][instant])
        speaks = any(part["start"] <= time < part["end"] for part in self._spoken.get(track["id"], ()))
        colour = GREEN if speaks else GREY if track["still"] else RED
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colour, max(2, self._unit // 8))
        label = "still" if track["still"] else self._labels.get(track["people_id"] or "", track["id"])
        width = self._text_width(label)
        base = y1 - 4 if y1 - self._unit - 6 >= 0 else y2 + self._unit + 2
        left = min(max(x1, 0), max(0, self._width - width - 6))
        cv2.rectangle(canvas, (left, base - self._unit), (left + width + 6, base + 4), colour, cv2.FILLED)
        cv2.putText(canvas, label, (left + 3, base - 1), (0, 0, 0), self._font, self._text_size, 600)

    @property
    def _text_size(self) -> int:
        return max(9, self._unit - 3)

    def _text_width(self, text: str) -> int:
        return int(cv2.getTextSize((0, 0), text, (0, 0), self._font, self._text_size, 600)[2])

    def _strip(self, time: float) -> Picture:
        page = int(time // STRIP_SECONDS)
        if self._page is None or self._page[0] != page:
            self._page = (page, self._drawn_page(page * STRIP_SECONDS))
        strip = self._page[1].copy()
        x = self._x(time, page * STRIP_SECONDS)
        cv2.line(strip, (x, 0), (x, self.strip_height), (255, 255, 255), max(1, self._unit // 10))
        return strip

    def _x(self, time: float, start: float) -> int:
        left = round(self._width * NAME_SHARE)
        seconds = max(min(self._duration - start, STRIP_SECONDS), 1.0) if start == 0 else STRIP_SECONDS
        return left + round((self._width - left - 6) * min(max((time - start) / seconds, 0.0), 1.0))

    def _drawn_page(self, start: float) -> Picture:
        strip = np.full((self.strip_height, self._width, 3), STRIP, np.uint8)
        end = start + STRIP_SECONDS
        for lane, (label, turns) in enumerate(self._lanes):
            top = 4 + lane * (self._unit + 4)
            colour = LANE_COLOURS[lane % len(LANE_COLOURS)]
            name = strip[:, : round(self._width * NAME_SHARE) - 4]  # a view: long names are cut at the lane's edge
            cv2.putText(name, label, (6, top + self._unit - 2), STRIP_TEXT, self._font, self._text_size, 400)
            for turn in turns:
                if turn["start"] < end and turn["end"] > start:
                    left, right = self._x(turn["start"], start), self._x(turn["end"], start)
                    filled = cv2.FILLED if turn["on_screen"] else max(1, self._unit // 8)
                    cv2.rectangle(strip, (left, top + 1), (max(right, left + 1), top + self._unit), colour, filled)
        return strip


def _parts_by_track(document: Document) -> dict[str, list[dict[str, Any]]]:
    parts: dict[str, list[dict[str, Any]]] = {}
    for turn in document["turns"]:
        for part in turn["parts"]:
            if part["track_id"] is not None:
                parts.setdefault(part["track_id"], []).append(part)
    return parts


def _lanes(document: Document, labels: dict[str, str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return (label, turns) of those who speak most, in the order in which they first do; unknown voices come last."""
    by_label: dict[tuple[bool, str], list[dict[str, Any]]] = {}
    for turn in document["turns"]:
        by_label.setdefault((turn["people_id"] is None, turn_label(turn, labels)), []).append(turn)
    chief = sorted(by_label, key=lambda key: -sum(turn["end"] - turn["start"] for turn in by_label[key]))[:MOST_LANES]
    return [(key[1], by_label[key]) for key in sorted(chief, key=lambda key: (key[0], by_label[key][0]["start"]))]
