"""Training pictures and their labels, made once and kept: pictures of scenes, frames of face tracks, both also with faces turned aside, face chips.

Labels come from one teacher, YuNet-n, whose licence allows it. It looks at each picture at several sizes and mirrored; where its looks
agree, their mean is a better label than one look is. The boxes that lie beside the scenes are not read here.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.faces.detect import Detector, open_detector
from asd_core.geometry import box_iou
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from training.faces.turn import look_aside
from training.people import held_out

# Whole sources are held out: frames of one shot are in one source. Video, photographs, crowds and pictures without faces, 15 % of the pictures.
HELD_OUT_SOURCES = frozenset(
    {
        "skymanaditya1/LipReadingQuiz",
        "davisking/dlib",
        "justadudewhohacks/face-api.js",
        "Sindhu-Hegde/multivsr",
        "OpenTalker/video-retalking",
        "timesler/facenet-pytorch",
        "hukkelas/DSFD-Pytorch-Inference",
        "PrefectHQ/prefect-recipes",
        "beetbox/beets",
    }
)
TEACHER = "yunet_n_dynamic"
LOOKS = (0.25, 0.5, 1.0, 2.0)  # sizes of the picture at which the teacher looks, each also mirrored
LARGEST_LOOK = 1400  # pixels of the longer side
SUITED = (14.0, 300.0)  # face sides in a look's own pixels that the teacher was made for
SAME_FACE_IOU = 0.45
MIRRORED_POINTS = (1, 0, 2, 4, 3)
KNOWN = 0.25  # teacher's score from which the largest face of a track's frame is one: every frame of a track was cut around a face
TURNED, MORE = 0.25, 5  # a track in which a face is turned so far gives so many times the frames
FRONTAL = 0.7, 16.0, 0.15  # teacher's score, distance of the eyes in pixels, and `aside` of a face that can be turned
TURNS = 0.55, 1.2  # radians
TRACK_SHARE = 6  # of the frames of tracks one in so many is turned
TURN_SEED = 11
UNSEEN = 0.4  # score of a turned face that the teacher does not see: between face and background
MARGIN = 0.25  # of the longer side, put around each look: the teacher too finds faces better that do not touch the edge


@dataclass(frozen=True, slots=True)
class Faces:
    """Labels of a picture, in its pixels. `scores` are the mean of the teacher's scores over the looks that suit a face's size."""

    boxes: NDArray[np.float32]  # (N, 4)
    points: NDArray[np.float32]  # (N, 5, 2)
    scores: NDArray[np.float32]  # (N,)


@dataclass(frozen=True, slots=True)
class Picture:
    """One training picture. `kind`: scene, or track (grey, the face fills it)."""

    name: str
    kind: str
    jpeg: bytes
    faces: Faces


@dataclass(frozen=True, slots=True)
class Material:
    """All that is learnt from."""

    pictures: list[Picture]
    chips: list[bytes]  # aligned 112 x 112 JPEG


def open_teacher(models: Path) -> Detector:
    """Return the teacher; it looks once and returns weak faces too."""
    return open_detector(find("detector", [ModelFolder(models)], TEACHER), open_session, score_threshold=0.5, low_score=0.25, second_look=False)


def label(picture: NDArray[np.uint8], teacher: Detector) -> Faces:
    """Return the faces of an RGB picture (H, W, 3), the teacher's looks at several sizes fused."""
    height, width = picture.shape[:2]
    rows = []  # one per detection: box 4, points 10, score, look, suited
    looks = [size for size in LOOKS if max(height, width) * size <= LARGEST_LOOK]
    for number, (size, mirror) in enumerate((size, mirror) for size in looks for mirror in (False, True)):
        boxes, points, scores = _look(picture, size, mirror, teacher)
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) * size
        suited = (sides >= SUITED[0]) & (sides <= SUITED[1])
        rows += [[*box, *point.ravel(), score, number, fit] for box, point, score, fit in zip(boxes, points, scores, suited, strict=True)]
    return _fuse(np.array(rows, np.float32).reshape(-1, 17), [size for size in looks for _ in range(2)])


def _look(
    picture: NDArray[np.uint8], size: float, mirror: bool, teacher: Detector
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    height, width = picture.shape[:2]
    scaled = cv2.resize(
        picture, (max(1, round(width * size)), max(1, round(height * size))), interpolation=cv2.INTER_AREA if size < 1 else cv2.INTER_CUBIC
    )
    rim = round(MARGIN * max(scaled.shape[:2]))
    framed = cv2.copyMakeBorder(scaled[:, ::-1] if mirror else scaled, rim, rim, rim, rim, cv2.BORDER_CONSTANT)
    cells = -(-framed.shape[1] // 32) * 32, -(-framed.shape[0] // 32) * 32
    canvas = np.zeros((cells[1], cells[0], 3), np.uint8)
    canvas[: framed.shape[0], : framed.shape[1]] = framed
    teacher.input_size_wh = cells if cells[0] >= cells[1] else cells[::-1]
    found = teacher.detect(canvas)
    ratio = np.array([width / scaled.shape[1], height / scaled.shape[0]], np.float32)
    boxes = ((found.boxes.reshape(-1, 2, 2) - rim) * ratio).reshape(-1, 4)
    points = (found.landmarks - rim) * ratio
    if mirror:
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        points = np.stack([width - points[..., 0], points[..., 1]], axis=2)[:, MIRRORED_POINTS]
    return boxes.astype(np.float32), points.astype(np.float32), found.scores


def _fuse(rows: NDArray[np.float32], sizes: Sequence[float]) -> Faces:
    """Return one face for each group of overlapping detections: their mean, weighted by score and by whether the look suits the size."""
    faces = []
    rest = rows[np.argsort(-rows[:, 14] * (0.3 + rows[:, 16]), kind="stable")]
    while len(rest):
        same = box_iou(rest[:1, :4], rest[:, :4])[0] >= SAME_FACE_IOU
        same[0] = True
        group, rest = rest[same], rest[~same]
        weights = group[:, 14] * np.where(group[:, 16] > 0, 1, 0.1)
        mean = (group[:, :14] * weights[:, None]).sum(axis=0) / weights.sum()
        side = max(mean[2] - mean[0], mean[3] - mean[1])
        fit = [number for number, size in enumerate(sizes) if SUITED[0] <= side * size <= SUITED[1]] or [int(group[0, 15])]
        best = [group[group[:, 15] == number, 14].max(initial=0) for number in fit]
        faces.append([*mean, float(np.mean(best))])
    table = np.array(faces, np.float32).reshape(-1, 15)
    return Faces(table[:, :4], table[:, 4:14].reshape(-1, 5, 2), table[:, 14])


def scenes(train: Path, unseen: bool) -> Iterator[tuple[str, bytes]]:
    """Yield names and JPEG files of the scenes, of the sources held out or of the others."""
    rows = [json.loads(line) for line in (train / "scenes" / "labels.jsonl").read_text().splitlines()]
    with zipfile.ZipFile(train / "scenes" / "scenes.zip") as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        for row in rows:
            if (row["source"] in HELD_OUT_SOURCES) == unseen:
                yield row["image"], archive.read(members[row["image"]])


def track_pictures(train: Path, each: int, teacher: Detector) -> Iterator[Picture]:
    """Yield `each` frames, evenly spread, of every face track of training people, and more of those who turn aside; grey, 176 x 176."""
    for name, frames in _tracks(train):
        pictures = [_track_picture(name, frames, k, teacher) for k in np.linspace(0, len(frames) - 1, each).astype(int)]
        if max((aside(picture.faces.points).max(initial=0) for picture in pictures), default=0) >= TURNED:
            pictures = [_track_picture(name, frames, k, teacher) for k in np.linspace(0, len(frames) - 1, each * MORE).astype(int)]
        yield from (picture for picture in pictures if len(picture.faces.scores))


def _track_picture(name: str, frames: Sequence[NDArray[np.uint8]], k: int, teacher: Detector) -> Picture:
    """Return a frame of a track with its labels; of its largest face we know that it is one."""
    jpeg = cv2.imencode(".jpg", frames[k], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    faces = label(read_rgb(jpeg), teacher)
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1, initial=0)
    if len(sides) and faces.scores[sides.argmax()] >= KNOWN:
        faces.scores[sides.argmax()] = 1.0
    return Picture(f"{name}_{k}", "track", jpeg, faces)


def turned_pictures(pictures: Sequence[Picture], each: int, teacher: Detector, rng: np.random.Generator) -> Iterator[Picture]:
    """Yield `each` versions of every picture in which a large face looks at the camera: there it looks aside. The teacher labels them anew."""
    for picture in pictures:
        faces = picture.faces
        eyes = np.linalg.norm(faces.points[:, 1] - faces.points[:, 0], axis=1)
        frontal = np.flatnonzero((faces.scores >= FRONTAL[0]) & (eyes >= FRONTAL[1]) & (aside(faces.points) <= FRONTAL[2]))
        for number in range(each if len(frontal) else 0):
            pixels = read_rgb(picture.jpeg).copy()
            for face in frontal:
                points = faces.points[face]
                way = np.sign((points[2] - points[:2].mean(axis=0))[0]) or 1.0
                look_aside(pixels, points, float(way * rng.uniform(*TURNS)))
            jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
            labelled = label(read_rgb(jpeg), teacher)
            unseen = box_iou(faces.boxes[frontal], labelled.boxes).max(axis=1, initial=0) < SAME_FACE_IOU
            added = frontal[unseen]  # faces still, whatever the teacher says: neither learnt nor background
            doubtful = np.full(len(added), UNSEEN, np.float32)
            parts = ((labelled.boxes, faces.boxes[added]), (labelled.points, faces.points[added]), (labelled.scores, doubtful))
            yield Picture(f"{picture.name} aside {number}", picture.kind, jpeg, Faces(*(np.concatenate(part) for part in parts)))


def aside(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far faces (N, 5, 2) are turned aside, (N,): the nose's way off the middle of the eyes, in eye distances; 0.5 is full profile."""
    eyes = points[:, 1] - points[:, 0]
    nose = points[:, 2] - (points[:, 0] + points[:, 1]) / 2
    return np.abs((eyes * nose).sum(axis=1)) / np.maximum(np.square(eyes).sum(axis=1), 1e-6)


def _tracks(train: Path) -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    """Yield names and frames (176, 176) of the face tracks of training people."""
    for number in ("", "_2"):
        told = json.loads((train / "asd" / f"manifest{number}.json").read_text())["tracks"]
        with zipfile.ZipFile(train / "asd" / f"tracks{number}.zip") as archive:
            members = {Path(name).stem: name for name in archive.namelist()}
            for track in told:
                if track["split"] != "train" or track["source_repository"] in HELD_OUT_SOURCES:
                    continue
                with av.open(io.BytesIO(archive.read(members[track["name"]])), "r") as container:
                    yield track["name"], [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]


def chips(train: Path, most: int) -> list[bytes]:
    """Return aligned chips of people who are not held out, at most two of a person."""
    seen: dict[str, int] = {}
    taken: list[bytes] = []
    with (train / "faces" / "people.csv").open() as file, zipfile.ZipFile(train / "faces" / "lfw_train.zip") as archive:
        for row in csv.DictReader(file):
            person = row["person"]
            seen[person] = seen.get(person, 0) + 1
            if not held_out(person) and seen[person] <= 2 and len(taken) < most:
                taken.append(archive.read(row["file"]))
    return taken


def prepare(shared: Path, cache: Path, *, most_scenes: int, track_each: int, most_chips: int, turned_each: int) -> Material:
    """Return the training material, made or read from the cache file.

    Args:
        shared: folder that holds `train` and `models`.
        cache: file to keep it in; one that exists is taken as it is.
        most_scenes: at most so many pictures of scenes.
        track_each: frames of each face track, 0 for none.
        most_chips: at most so many face chips.
        turned_each: versions with turned faces of each picture that has frontal ones.
    """
    if cache.is_file():
        return read_material(cache)
    teacher = open_teacher(shared / "models")
    found = islice(scenes(shared / "train", unseen=False), most_scenes)
    pictures = [Picture(name, "scene", jpeg, label(read_rgb(jpeg), teacher)) for name, jpeg in found]
    pictures += track_pictures(shared / "train", track_each, teacher) if track_each else []
    few = [picture for k, picture in enumerate(pictures) if picture.kind == "scene" or k % TRACK_SHARE == 0]
    pictures += list(turned_pictures(few, turned_each, teacher, np.random.default_rng(TURN_SEED)))
    material = Material(pictures, chips(shared / "train", most_chips))
    write_material(material, cache)
    return material


def write_material(material: Material, path: Path) -> None:
    """Write material as a zip: one JPEG a picture and a chip, in order, and labels.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        told = []
        for number, picture in enumerate(material.pictures):
            archive.writestr(f"picture/{number:06}.jpg", picture.jpeg)
            faces = {"boxes": picture.faces.boxes.tolist(), "points": picture.faces.points.tolist(), "scores": picture.faces.scores.tolist()}
            told.append({"name": picture.name, "kind": picture.kind, **faces})
        for number, chip in enumerate(material.chips):
            archive.writestr(f"chip/{number:06}.jpg", chip)
        archive.writestr("labels.json", json.dumps(told))
    part.replace(path)


def read_material(path: Path) -> Material:
    """Return what `write_material` wrote."""
    with zipfile.ZipFile(path) as archive:
        pictures = []
        for number, row in enumerate(json.loads(archive.read("labels.json"))):
            boxes, points = np.array(row["boxes"], np.float32).reshape(-1, 4), np.array(row["points"], np.float32).reshape(-1, 5, 2)
            faces = Faces(boxes, points, np.array(row["scores"], np.float32))
            pictures.append(Picture(row["name"], row["kind"], archive.read(f"picture/{number:06}.jpg"), faces))
        return Material(pictures, [archive.read(name) for name in sorted(archive.namelist()) if name.startswith("chip/")])


def read_rgb(jpeg: bytes) -> NDArray[np.uint8]:
    """Return a JPEG file as (H, W, 3) RGB."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
