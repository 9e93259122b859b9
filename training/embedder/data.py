"""Faces to learn from: the named pictures of ../shared/train/faces, split by person, and nameless ones from scenes and speaking tracks."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.faces.align import CHIP_SIZE, align_matrix
from asd_core.faces.detect import Detector
from asd_core.records import Detections

DETECTOR = "yunet_n_dynamic"  # of faces that come in whole pictures
SMALLEST_FACE = 24.0  # pixels, longer side: below, the teacher's vector of a nameless face says nothing
TRACK_FRAMES = 5  # of one speaking track, spread over it: neighbours are one picture
CERTAIN_SCORE = 0.75  # of a nameless face: what the detector doubts may be no face

Chip = NDArray[np.uint8]  # (112, 112, 3) RGB, aligned


def named_faces(folder: Path) -> Iterator[tuple[str, Chip]]:
    """Yield (person, chip) of both archives of `folder`; a person of both has one name."""
    for name in ("lfw_train.zip", "celebrity_train.zip"):
        with zipfile.ZipFile(folder / name) as archive:
            for entry in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
                yield entry.split("/")[0], decode_rgb(archive.read(entry))


def scene_faces(folder: Path, detector: Detector) -> Iterator[Chip]:
    """Yield the aligned faces of the pictures in `folder`; who they are is not known."""
    with zipfile.ZipFile(folder / "scenes.zip") as archive:
        for entry in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
            picture = decode_rgb(archive.read(entry))
            yield from _chips(picture, detector.detect(picture))


def track_faces(folder: Path, detector: Detector) -> Iterator[Chip]:
    """Yield a few aligned faces of every speaking track of `folder`, grey in three channels."""
    for part in ("", "_2"):
        rows = (folder / f"labels{part}.jsonl").read_text().splitlines()
        names = sorted({json.loads(row)["name"] for row in rows})
        with zipfile.ZipFile(folder / f"tracks{part}.zip") as archive:
            for name in names:
                for picture in _spread_frames(archive.read(f"{name}.mkv")):
                    yield from _chips(picture, detector.detect(picture, top=1))


def decode_rgb(jpeg: bytes) -> NDArray[np.uint8]:
    """Return the (H, W, 3) RGB picture of a JPEG."""
    return np.ascontiguousarray(np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def _spread_frames(mkv: bytes) -> list[NDArray[np.uint8]]:
    with av.open(io.BytesIO(mkv), "r") as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    chosen = np.linspace(0, len(frames) - 1, TRACK_FRAMES + 2).round().astype(int)[1:-1]
    return [np.repeat(frames[k][..., None], 3, axis=2) for k in np.unique(chosen)]


def _chips(picture: NDArray[np.uint8], found: Detections) -> Iterator[Chip]:
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
    for points, score, side in zip(found.landmarks, found.scores, sides, strict=True):
        if score >= CERTAIN_SCORE and side >= SMALLEST_FACE:
            yield cv2.warpAffine(picture, align_matrix(points), (CHIP_SIZE, CHIP_SIZE), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
