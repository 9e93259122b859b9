"""The reference recipe, re-implemented plainly on the same networks: what the public demos of the TalkNet family do with a video.

25 frames a second by repeating and dropping; the detector on every frame; tracks by IoU over 0.5 to the last box, boxes at most
10 frames apart, more than 10 of them; straight lines through gaps; a median of 13 over centres and sizes; crops of 224 of which the middle 112 is
kept; all three graphs on windows of 1 to 6 s, averaged, rounded to 0.1; a mean over five frames; above 0 is speech. Shots are cut as
PySceneDetect's content detector does it. Left out are the detours through the disk (re-encoded video, a JPEG for each frame, an XVID
file for each crop), which change nothing but the time it takes, and it has no people: a track is whom it shows.

Sources: TaoRuijie/TalkNet-ASD demoTalkNet.py and Junhua-Liao/LR-ASD Columbia_test.py (MIT); Breakthrough/PySceneDetect content_detector.py (BSD).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import medfilt

from asd_core.media.audio import read_audio
from asd_core.media.probe import probe
from asd_core.records import MediaInfo
from asd_core.speech.mfcc import mfcc_rows

RATE = 25
SAMPLE_HZ = 16000
MIN_IOU = 0.5
MOST_APART = 10
SHORTEST = 10
MEDIAN = 13
CROP_SCALE = 0.40
WINDOWS = (1, 2, 3, 4, 5, 6)
CUT_THRESHOLD = 27.0
SHORTEST_SHOT = 15


@dataclass(frozen=True, slots=True, eq=False)
class RecipeTrack:
    """One track of the recipe: `boxes` (T, 4) from frame `first` on; `scores` (S,), S at most T, averaged over windows and rounded."""

    first: int
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """Return the mean over frames i-2..i+2 of the scores, (S,)."""
        return np.array([self.scores[max(0, i - 2) : i + 3].mean() for i in range(len(self.scores))])

    def speaking(self) -> list[tuple[float, float]]:
        """Return the stretches in seconds in which the smoothed score is above 0."""
        on = np.concatenate([[False], self.smoothed > 0, [False]]).astype(int)
        starts, ends = np.nonzero(np.diff(on) == 1)[0], np.nonzero(np.diff(on) == -1)[0]
        return [((self.first + a) / RATE, (self.first + b) / RATE) for a, b in zip(starts, ends, strict=True)]


def run_recipe(path: Path, networks: Any) -> list[RecipeTrack]:
    """Return the tracks of a file with their scores; `networks` is an `asd_core.analysis.Networks`. No picture: no tracks."""
    info = probe(path)
    if info.video is None:
        return []
    detector = copy.copy(networks.detector)
    detector.second_look = False  # ours, not the recipe's
    faces, cuts, before = [], [0], None
    cut_at = 0
    for number, picture in enumerate(frames_at_25(path, info)):
        content = _content(picture)
        if before is not None and _difference(before, content) >= CUT_THRESHOLD and number - cut_at >= SHORTEST_SHOT:
            cuts.append(number)
            cut_at = number
        before = content
        found = detector.detect(picture)
        faces.append([(number, box) for box, score in zip(found.boxes, found.scores, strict=True) if score >= detector.score_threshold])
    edges = [*cuts, len(faces)]
    linked = [track for a, b in pairwise(edges) for track in link(faces[a:b])]
    crops = cut_crops(path, info, linked)
    samples = default_sound(path, info)
    return [
        RecipeTrack(first, boxes, score(crop, samples[first * 640 : (first + len(boxes)) * 640], networks.speaking))
        for (first, boxes), crop in zip(linked, crops, strict=True)
    ]


def frames_at_25(path: Path, info: MediaInfo) -> Iterator[NDArray[np.uint8]]:
    """Yield the picture (H, W, 3) RGB at 0, 1/25, 2/25 … s: frames are repeated or dropped, never blended."""
    wanted, held = 0, None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            time = float(frame.pts * stream.time_base) - info.origin
            while held is not None and (wanted + 0.5) / RATE <= time:
                yield held
                wanted += 1
            if (wanted - 0.5) / RATE <= time or held is None:
                held = frame.to_ndarray(format="rgb24")
    end = round(info.duration * RATE)
    while held is not None and wanted < end and wanted / RATE < _picture_end(info):
        yield held
        wanted += 1


def _picture_end(info: MediaInfo) -> float:
    assert info.video is not None
    return info.video.start + info.video.duration


def _content(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = max(1, picture.shape[1] // 256)  # as PySceneDetect shrinks
    small = cv2.resize(picture, (picture.shape[1] // factor, picture.shape[0] // factor), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(small, cv2.COLOR_RGB2HSV)


def _difference(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Return the mean over hue, saturation and value of the mean absolute difference."""
    return float(np.abs(left.astype(np.int16) - right).mean(axis=(0, 1)).mean())


def link(faces: list[list[tuple[int, NDArray[np.float32]]]]) -> list[tuple[int, NDArray[np.float64]]]:
    """Return (first frame, boxes (T, 4)) of the tracks of one shot; greedy, in the order of the faces."""
    left = [list(found) for found in faces]
    tracks = []
    while True:
        track: list[tuple[int, NDArray[np.float32]]] = []
        for found in left:
            for place, face in enumerate(found):
                if track and face[0] - track[-1][0] > MOST_APART:
                    break
                if not track or (face[0] > track[-1][0] and _iou(face[1], track[-1][1]) > MIN_IOU):
                    track.append(face)
                    del found[place]
                    break
        if not track:
            return tracks
        if len(track) > SHORTEST:
            at = np.array([number for number, _ in track])
            boxes = np.stack([box for _, box in track]).astype(np.float64)
            filled = np.arange(at[0], at[-1] + 1)
            tracks.append((int(at[0]), np.stack([np.interp(filled, at, boxes[:, k]) for k in range(4)], axis=1)))


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return float(both / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both, 1e-9))


def cut_crops(path: Path, info: MediaInfo, tracks: list[tuple[int, NDArray[np.float64]]]) -> list[NDArray[np.uint8]]:
    """Return for each track its (T, 112, 112) grey crops, from a second pass over the file (the demos read their JPEGs here)."""
    squares = []
    for _, boxes in tracks:
        size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
        centre_x, centre_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        squares.append(np.stack([medfilt(values, MEDIAN) for values in (centre_x, centre_y, size)], axis=1))
    crops: list[list[NDArray[np.uint8]]] = [[] for _ in tracks]
    for number, picture in enumerate(frames_at_25(path, info) if tracks else ()):
        for k, (first, boxes) in enumerate(tracks):
            if first <= number < first + len(boxes):
                crops[k].append(_crop(picture, *squares[k][number - first]))
    for k, (_, boxes) in enumerate(tracks):  # the two passes see the same frames
        assert len(crops[k]) == len(boxes)
    return [np.stack(crop) for crop in crops]


def _crop(picture: NDArray[np.uint8], x: float, y: float, size: float) -> NDArray[np.uint8]:
    """Return one grey crop: rows y-s .. y+s(1+2c), columns x-s(1+c) .. x+s(1+c), as 224 x 224, of which the middle."""
    edge = int(size * (1 + 2 * CROP_SCALE)) + 1
    left, top = int(x - size * (1 + CROP_SCALE)), int(y - size)
    right, bottom = int(x + size * (1 + CROP_SCALE)), int(y + size * (1 + 2 * CROP_SCALE))
    height, width = picture.shape[:2]
    inside = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    over = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if max(over) > 2 * edge + max(height, width) or not inside.size:
        return np.full((112, 112), 110, np.uint8)
    padded = cv2.copyMakeBorder(inside, *over, cv2.BORDER_CONSTANT, value=(110, 110, 110))
    return cv2.cvtColor(cv2.resize(padded, (224, 224)), cv2.COLOR_RGB2GRAY)[56:168, 56:168]


def default_sound(path: Path, info: MediaInfo) -> NDArray[np.int16]:
    """Return the default (or first) sound track, mono at 16 kHz on the asset's clock; empty without one."""
    if not info.audio_tracks:
        return np.zeros(0, np.int16)
    chosen = next((track for track in info.audio_tracks if track.default), info.audio_tracks[0])
    return np.concatenate([np.zeros(0, np.int16), *read_audio(path, info, chosen.index)])


def score(crops: NDArray[np.uint8], samples: NDArray[np.int16], network: Any) -> NDArray[np.float64]:
    """Return the (S,) scores of a track, averaged over windows of 1 to 6 s and rounded to 0.1; without sound there are none."""
    rows = mfcc_rows(samples)
    length = min(len(rows) // 4, len(crops))
    if length == 0:
        return np.zeros(0)
    votes = []
    for seconds in WINDOWS:
        step = seconds * RATE
        parts = []
        for a in range(0, length, step):
            b = min(a + step, length)
            visual, audio = network.visual(crops[None, a:b]), network.audio(rows[None, 4 * a : 4 * b])
            parts.append(network.head(audio, visual)[0])
        votes.append(np.concatenate(parts))
    return np.round(np.mean(votes, axis=0), 1)
