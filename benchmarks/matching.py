"""Whom a track shows, for scoring: by given boxes, by place, by still or by being the only one; never by who is said to speak.

The same rules serve our tracks and the recipe's. In this order:

1. given boxes (`labels/<clip>_faceboxes.csv`): the person whose boxes overlap the track's most, mean IoU at least 0.3;
2. place: where a truth file says that people sit left and right, the half of the picture in which the track's middle lies;
3. stills: the person of the clip whose photograph is nearest to the track's face (embedding cosine of up to five views, at least 0.15);
4. one person in the truth: the track, unless a larger face is in the picture for most of its time, or the person is not visible then.

A track that no rule gives to anybody is nobody's: what it says counts as false alarm or confusion.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import align_matrix
from asd_core.geometry import box_iou
from asd_core.media.decode import read_frames
from asd_core.media.probe import probe

# Truth files whose descriptions tell people apart by their place: from left to right.
LEFT_TO_RIGHT = {
    "news_split_two_interview": ("news_host", "news_guest"),
    "studio_two_seated_wired": ("wired_left", "wired_right"),
}
MIN_IOU = 0.3
MIN_COSINE = 0.15
VIEWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class FoundTrack:
    """A track as either side gives it: grid instant `first`, `boxes` (T, 4), `scores` (T,) or fewer, and stretches of speech in seconds."""

    first: int
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    speaking: tuple[tuple[float, float], ...]

    @property
    def instants(self) -> range:
        """Return the grid instants of the boxes."""
        return range(self.first, self.first + len(self.boxes))


def match_tracks(clip: Path, truth: dict[str, Any], tracks: Sequence[FoundTrack], networks: Any) -> list[str | None]:
    """Return for each track the truth's person, or None for nobody of the truth."""
    people = [person["id"] for person in truth["people"]]
    if not tracks or not people:
        return [None] * len(tracks)
    media = clip.parents[1]
    given = media / "labels" / f"{clip.stem}_faceboxes.csv"
    if given.is_file():
        return _by_boxes(read_boxes(given), tracks)
    if clip.stem in LEFT_TO_RIGHT:
        return _by_place(clip, LEFT_TO_RIGHT[clip.stem], tracks)
    stills = {person: media / "stills" / f"{person}.jpg" for person in people}
    if len(people) > 1:
        return _by_stills(clip, {person: path for person, path in stills.items() if path.is_file()}, tracks, networks)
    return _the_only_one(truth["people"][0], tracks)


def read_boxes(path: Path) -> dict[str, dict[int, NDArray[np.float32]]]:
    """Return person -> grid instant -> box (4,) of a file of given boxes, 25 frames a second."""
    boxes: dict[str, dict[int, NDArray[np.float32]]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            boxes[row["person"]][int(row["frame"])] = np.array([float(row[key]) for key in ("x1", "y1", "x2", "y2")], np.float32)
    return dict(boxes)


def _by_boxes(given: dict[str, dict[int, NDArray[np.float32]]], tracks: Sequence[FoundTrack]) -> list[str | None]:
    names: list[str | None] = []
    for track in tracks:
        overlap = {}
        for person, boxes in given.items():
            shared = [k for k, instant in enumerate(track.instants) if instant in boxes]
            ious = [float(box_iou(track.boxes[k : k + 1], boxes[track.first + k][None])[0, 0]) for k in shared]
            overlap[person] = float(np.mean(ious)) if ious else 0.0
        best = max(overlap, key=lambda person: overlap[person])
        names.append(best if overlap[best] >= MIN_IOU else None)
    return names


def _by_place(clip: Path, people: Sequence[str], tracks: Sequence[FoundTrack]) -> list[str | None]:
    video = probe(clip).video
    assert video is not None
    columns = [float(track.boxes[:, [0, 2]].mean()) / video.width for track in tracks]
    return [people[min(len(people) - 1, int(column * len(people)))] for column in columns]


def _by_stills(clip: Path, stills: dict[str, Path], tracks: Sequence[FoundTrack], networks: Any) -> list[str | None]:
    if not stills:
        return [None] * len(tracks)
    faces = _faces_of(clip, tracks, networks)
    known = {person: vector for person, path in stills.items() if (vector := _face_of_still(path, networks)) is not None}
    names: list[str | None] = []
    for vectors in faces:
        cosines = {person: float((vectors @ vector).mean()) for person, vector in known.items()} if len(vectors) else {}
        best = max(cosines, key=lambda person: cosines[person], default=None)
        names.append(best if best is not None and cosines[best] >= MIN_COSINE else None)
    return names


def _face_of_still(path: Path, networks: Any) -> NDArray[np.float32] | None:
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    picture = np.ascontiguousarray(read[:, :, ::-1])
    found = networks.detector.detect(picture, top=1)
    return _embed(picture, found.landmarks[0], networks) if len(found) else None


def _embed(picture: NDArray[np.uint8], landmarks: NDArray[np.float32], networks: Any) -> NDArray[np.float32]:
    chip = cv2.warpAffine(picture, align_matrix(landmarks), (112, 112), flags=cv2.INTER_LINEAR).astype(np.uint8)
    vectors, _ = networks.embedder.embed(chip[None])
    return vectors[0]


def _faces_of(clip: Path, tracks: Sequence[FoundTrack], networks: Any) -> list[NDArray[np.float32]]:
    """Return for each track the (K, D) vectors of up to `VIEWS` evenly spread instants at which the detector sees its face."""
    wanted: dict[int, list[int]] = defaultdict(list)
    for number, track in enumerate(tracks):
        for instant in np.linspace(track.instants[0], track.instants[-1], VIEWS + 2).astype(int)[1:-1]:
            wanted[int(instant)].append(number)
    info = probe(clip)
    vectors: list[list[NDArray[np.float32]]] = [[] for _ in tracks]
    for instant in sorted(wanted):
        for frame in read_frames(clip, info, start=instant / 25, end=instant / 25 + 0.02):
            picture = frame.picture((frame.width, frame.height))
            found = networks.detector.detect(picture)
            for number in wanted[instant]:
                box = tracks[number].boxes[instant - tracks[number].first]
                ious = box_iou(box[None], found.boxes)[0] if len(found) else np.zeros(0)
                if len(ious) and ious.max() >= MIN_IOU:
                    vectors[number].append(_embed(picture, found.landmarks[int(ious.argmax())], networks))
    return [np.stack(seen) if seen else np.zeros((0, networks.embedder.dimension), np.float32) for seen in vectors]


def _the_only_one(person: dict[str, Any], tracks: Sequence[FoundTrack]) -> list[str | None]:
    areas = [float(np.prod(track.boxes[:, 2:] - track.boxes[:, :2], axis=1).mean()) for track in tracks]
    names: list[str | None] = []
    for number, track in enumerate(tracks):
        shaded = np.zeros(len(track.boxes), bool)
        for other, area in zip(tracks, areas, strict=True):
            if area > areas[number]:
                low, high = max(track.first, other.first) - track.first, min(track.instants[-1], other.instants[-1]) + 1 - track.first
                shaded[max(0, low) : max(0, high)] = True
        seen = np.ones(len(track.boxes), bool)
        if person.get("visible"):
            times = np.array(track.instants) / 25
            seen = np.any([(times >= start - 0.04) & (times < end + 0.04) for start, end in person["visible"]], axis=0)
        names.append(person["id"] if (seen & ~shaded).mean() > 0.5 else None)
    return names
