"""Detectors, one picture at a time, against what the larger SCRFD is sure of.

One pass of the network over a picture at the line's own input size, at the thresholds of its manifest: no second look, no tracking. The
reference is no truth: where it is wrong, who agrees with it is rewarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.detect import open_detector
from asd_core.geometry import box_iou, box_sizes
from asd_core.models.registry import Model, find
from asd_core.models.session import open_session
from asd_core.records import Detections
from benchmarks.networks.keeping import code, digest, kept_arrays, kept_json
from benchmarks.networks.material import FOLDERS, PICTURE_CODE, SAMPLED_EVERY, clip_paths, sampled_pictures
from benchmarks.networks.measures import share_interval

REFERENCE = "scrfd_2.5g_kps"
REFERENCE_INPUT_WH = (640, 640)
LINE_INPUT_WH = (640, 384)
SURE = 0.5  # reference score of a face that must be found
POSSIBLE = 0.3  # reference score of a box that excuses another network's
SMALLEST = 48.0  # longer side in source pixels
MATCH_IOU = 0.5
EXCUSE_IOU = 0.3
SIZES = {"48 to 95": (48.0, 96.0), "96 to 191": (96.0, 192.0), "192 and more": (192.0, np.inf)}
POSES = {"frontal": (0.0, 0.35), "three-quarter": (0.35, 1.0), "profile": (1.0, np.inf)}  # of `turned`
CLASSES = {**SIZES, **POSES}
CODE = ("asd_core/faces/detect.py", "asd_core/faces/scrfd.py", "asd_core/faces/yunet.py")


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One picture: the reference's sure faces (N,) by size, turn and whether they were found with which landmark error; boxes and extra ones."""

    sizes: NDArray[np.float32]
    turns: NDArray[np.float32]
    errors: NDArray[np.float32]  # NaN where the face was not found
    boxes: int
    extra: int


def measure(model: Model) -> dict[str, Any]:
    """Return recall, extra boxes and landmark errors of a detector over the sampled pictures of all clips."""
    key = digest(model.key, [path.stat().st_size for path in clip_paths()], code(*CODE, "benchmarks/networks/detectors.py"))
    return kept_json(f"detector.{model.name}", key, lambda: _measure(model))  # type: ignore[no-any-return]


def _measure(model: Model) -> dict[str, Any]:
    reference = find("detector", FOLDERS, REFERENCE)
    by_clip = []
    for path in clip_paths():
        theirs, ours = _detections(path, reference, REFERENCE_INPUT_WH), _detections(path, model, LINE_INPUT_WH)
        by_clip.append([compare(sure, found, model.manifest.threshold("score")) for sure, found in zip(theirs, ours, strict=True)])
    return summary(by_clip)


def summary(by_clip: list[list[Compared]]) -> dict[str, Any]:
    """Return the pooled marks, with 95 % intervals from drawing clips."""
    flat = [picture for pictures in by_clip for picture in pictures]
    sizes, turns, errors = (np.concatenate([getattr(picture, name) for picture in flat]) for name in ("sizes", "turns", "errors"))
    found, boxes, extra = (
        np.array([sum(count(picture) for picture in pictures) for pictures in by_clip], float)
        for count in (lambda p: np.isfinite(p.errors).sum(), lambda p: p.boxes, lambda p: p.extra)
    )
    faces = np.array([sum(len(picture.sizes) for picture in pictures) for pictures in by_clip], float)
    classes = {}
    for name, (low, high) in CLASSES.items():
        values = sizes if name in SIZES else turns
        of_class = errors[(values >= low) & (values < high)]
        classes[name] = _marks(of_class)
    return {
        "pictures": len(flat),
        **_marks(errors),
        "recall_interval": share_interval(found, faces),
        "boxes": int(boxes.sum()),
        "extra": float(extra.sum() / max(boxes.sum(), 1)),
        "extra_interval": share_interval(extra, boxes),
        "classes": classes,
    }


def _marks(errors: NDArray[np.float32]) -> dict[str, Any]:
    seen = errors[np.isfinite(errors)]
    known = len(seen) > 0
    return {
        "faces": len(errors),
        "recall": len(seen) / len(errors) if len(errors) else None,
        "landmark_mean": float(seen.mean()) if known else None,
        "landmark_median": float(np.median(seen)) if known else None,
    }


def compare(reference: Detections, found: Detections, threshold: float) -> Compared:
    """Compare what a network finds in a picture with the reference's boxes, in source pixels.

    A sure face of the reference is found when a box overlaps it by at least `MATCH_IOU`; pairs are made one to one, the best first. The
    landmark error is the mean distance of the five points as a share of the reference's distance between the eyes. A box is extra when
    no box of the reference with a score of at least `POSSIBLE` overlaps it by `EXCUSE_IOU`, whatever that box's size.
    """
    sure = (reference.scores >= SURE) & (box_sizes(reference.boxes) >= SMALLEST)
    taken = found.scores >= threshold
    boxes, points = found.boxes[taken], found.landmarks[taken]
    truth, true_points = reference.boxes[sure], reference.landmarks[sure]
    errors = np.full(len(truth), np.nan, np.float32)
    overlaps = box_iou(truth, boxes)
    while overlaps.size and overlaps.max() >= MATCH_IOU:
        face, box = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        between_eyes = max(float(np.linalg.norm(true_points[face, 1] - true_points[face, 0])), 1e-6)
        errors[face] = np.linalg.norm(points[box] - true_points[face], axis=1).mean() / between_eyes
        overlaps[face], overlaps[:, box] = -1, -1
    large = boxes[box_sizes(boxes) >= SMALLEST]
    excuses = reference.boxes[reference.scores >= POSSIBLE]
    excused = (box_iou(large, excuses) >= EXCUSE_IOU).any(axis=1) if len(excuses) else np.zeros(len(large), np.bool_)
    return Compared(box_sizes(truth), np.array([turned(p) for p in true_points], np.float32), errors, len(large), int((~excused).sum()))


def turned(points: NDArray[np.float32]) -> float:
    """Return how far a face is turned by its five points (5, 2): 0 where the nose stands between the eyes, 1 below an eye, more beyond it."""
    line = (points[1] - points[0]).astype(np.float64)
    along = float((points[2] - points[0]) @ line / max(float(line @ line), 1e-6))
    return abs(2 * along - 1)


def _detections(path: Path, model: Model, limit_wh: tuple[int, int]) -> list[Detections]:
    """Return what a network finds in each sampled picture, in source pixels, from its manifest's lowest score on."""
    stored = kept_arrays(
        f"{path.stem}.boxes_{model.name}",
        digest(path.read_bytes(), model.key, limit_wh, SAMPLED_EVERY, code(*CODE, *PICTURE_CODE)),
        lambda: _detect(path, model, limit_wh),
    )
    edges = np.cumsum(stored["counts"])[:-1]
    parts = (np.split(stored[name], edges) for name in ("boxes", "scores", "landmarks"))
    return [Detections(*of_picture) for of_picture in zip(*parts, strict=True)]


def _detect(path: Path, model: Model, limit_wh: tuple[int, int]) -> dict[str, np.ndarray]:
    detector = open_detector(model, open_session, input_size_wh=limit_wh, second_look=False)
    pictures, to_source = sampled_pictures(path, limit_wh, model)
    found = [detector.detect(picture) for picture in pictures]
    return {
        "counts": np.array([len(f) for f in found]),
        "boxes": np.concatenate([f.boxes * np.tile(to_source, 2) for f in found]),
        "scores": np.concatenate([f.scores for f in found]),
        "landmarks": np.concatenate([f.landmarks * to_source for f in found]),
    }
