"""How good a detector is on the held-out scenes: against a larger detector's confident faces, a yardstick that nothing is learnt from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd_core.faces.detect import Detector, open_detector
from asd_core.geometry import box_iou
from asd_core.models.manifest import InputFormat, Manifest, ModelFile
from asd_core.models.registry import Model, ModelFolder, find
from asd_core.models.session import open_session
from asd_core.records import Detections
from training.faces.data import SURE
from training.faces.export import NAME, SIZE_WH
from training.faces.prepare import Faces, aside, read_rgb, scenes

CONFIDENT = 0.5  # the yardstick's score from which a face must be found
FOUND_IOU, EXTRA_IOU = 0.5, 0.3
LEAST_SHARE = 48 / 1920  # of the picture's longer side: 48 pixels of a full-HD picture
FEW = 10  # faces
SMALLEST_POSED = 20.0  # pixels of the stored picture from which a pose can be told
SIZES = (16, 32, 64, 128, 10_000)  # pixels of the stored picture
POSES = {"frontal": (0.0, 0.175), "three_quarter": (0.175, 0.5), "profile": (0.5, np.inf)}  # the nose's way off the middle, in eye distances


@dataclass(frozen=True, slots=True)
class Scene:
    """A held-out picture (H, W, 3) and the yardstick's faces: all, and which of them must be found."""

    picture: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    wanted: NDArray[np.bool_]
    least: float  # pixels: smaller boxes are not judged


def held_out(train: Path) -> Iterator[Scene]:
    """Yield the held-out scenes."""
    rows = {row["image"]: row["scrfd"] for row in map(json.loads, (train / "scenes" / "labels.jsonl").read_text().splitlines())}
    for name, jpeg in scenes(train, unseen=True):
        faces, picture = rows[name], read_rgb(jpeg)
        boxes = np.array([face["box"] for face in faces], np.float32).reshape(-1, 4)
        least = LEAST_SHARE * max(picture.shape[:2])
        wanted = (np.array([face["score"] for face in faces]) >= CONFIDENT) & (_sides(boxes) >= least)
        yield Scene(picture, boxes, np.array([face["kps"] for face in faces], np.float32).reshape(-1, 5, 2), wanted.astype(bool), least)


def score(detect: Callable[[NDArray[np.uint8]], Detections], threshold: float, material: Sequence[Scene]) -> dict[str, float]:
    """Return recall, share of extra boxes, landmark error and recall by size and by pose of a detector at a threshold.

    A face is found by a box of IoU 0.5; a box is extra where the yardstick has nothing, not even a weak box, at IoU 0.3. The landmark error
    is the mean distance of the five points over the distance of the eyes, of the faces found.
    """
    found, sizes, poses, extra, boxes, errors = [], [], [], 0, 0, []
    for scene in material:
        seen = detect(scene.picture)
        kept = (seen.scores >= threshold) & (_sides(seen.boxes) >= scene.least)
        mine, points = seen.boxes[seen.scores >= threshold], seen.landmarks[seen.scores >= threshold]
        overlap = box_iou(scene.boxes[scene.wanted], mine)
        best = overlap.max(axis=1, initial=0)
        found += (best >= FOUND_IOU).tolist()
        sizes += _sides(scene.boxes[scene.wanted]).tolist()
        poses += aside(scene.points[scene.wanted]).tolist()
        boxes += int(kept.sum())
        extra += int((box_iou(seen.boxes[kept], scene.boxes).max(axis=1, initial=0) < EXTRA_IOU).sum())
        for reference, row in zip(scene.points[scene.wanted][best >= FOUND_IOU], overlap[best >= FOUND_IOU], strict=True):
            apart = np.linalg.norm(points[row.argmax()] - reference, axis=1).mean()
            errors.append(float(apart / max(1.0, float(np.linalg.norm(reference[0] - reference[1])))))
    points_apart = float(np.median(errors or [np.nan]))
    result: dict[str, float] = {"faces": len(found), "recall": float(np.mean(found)), "extra": extra / max(1, boxes), "points": points_apart}
    for low, high in zip((0, *SIZES), SIZES, strict=False):
        within = [hit for hit, side in zip(found, sizes, strict=True) if low <= side < high]
        result[f"recall_{low}"] = float(np.mean(within)) if within else float("nan")
    for pose, (least, most) in POSES.items():
        within = [hit for hit, turn in zip(found, poses, strict=True) if least <= turn < most]
        result[f"{pose}_faces"], result[f"recall_{pose}"] = len(within), float(np.mean(within)) if within else float("nan")
    return result


def open_file(path: Path) -> Detector:
    """Return a detector on an exported file, whatever its manifest says: for choosing the thresholds."""
    form = InputFormat("picture", SIZE_WH, "rgb", (127.5,) * 3, (128.0,) * 3, free_size=True)
    thresholds = {"score": 0.5, "low_score": 0.05, "nms_iou": 0.4}
    manifest = Manifest(NAME, "detector", "scrfd", "", False, {"network": ModelFile(path.name)}, form, thresholds=thresholds)
    return open_detector(Model(manifest, {"network": path}, ""), open_session, second_look=False)


def by_pose(detector: Detector, pictures: Iterable[tuple[NDArray[np.uint8], Faces]]) -> dict[str, tuple[int, float]]:
    """Return for each pose how many faces the teacher is sure of, and the share of them that a detector finds at its threshold.

    Asked of training pictures and of held-out ones it says where pictures are short: there the first is found and the second is not.
    """
    hits: dict[str, list[bool]] = {pose: [] for pose in POSES}
    for picture, faces in pictures:
        seen = detector.detect(picture)
        sure = (faces.scores >= SURE) & (_sides(faces.boxes) >= SMALLEST_POSED)
        best = box_iou(faces.boxes[sure], seen.boxes[seen.scores >= detector.score_threshold]).max(axis=1, initial=0)
        for turn, overlap in zip(aside(faces.points[sure]), best, strict=True):
            pose = next(pose for pose, (low, high) in POSES.items() if low <= turn < high)
            hits[pose].append(bool(overlap >= FOUND_IOU))
    return {pose: (len(found), float(np.mean(found)) if found else float("nan")) for pose, found in hits.items()}


def without_crowds(material: Sequence[Scene]) -> list[Scene]:
    """Return the pictures with at most ten faces that must be found; three crowds hold a third of all faces."""
    return [scene for scene in material if scene.wanted.sum() <= FEW]


def compare(models: Sequence[Path], train: Path, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the held-out numbers of models by name, with crowds and without, each at its manifest's threshold and with one look a picture."""
    material = list(held_out(train))
    table = {}
    for name in names:
        detector = open_detector(find("detector", [ModelFolder(folder) for folder in models], name), open_session, second_look=False)
        table[name] = score(detector.detect, detector.score_threshold, material)
        table[f"{name}, no crowds"] = score(detector.detect, detector.score_threshold, without_crowds(material))
    return table


def curve(path: Path, material: Sequence[Scene], thresholds: Sequence[float]) -> list[dict[str, float]]:
    """Return the held-out numbers of an exported file at several thresholds."""
    detector = open_file(path)
    seen = {id(scene.picture): detector.detect(scene.picture) for scene in material}
    return [{"threshold": each} | score(lambda picture: seen[id(picture)], each, material) for each in thresholds]


def _sides(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
