"""Data preparation, cached: real faces with names and teacher's vectors (faces.npz), then shards of made faces (made_00.npy ...)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.demo.portraits import PORTRAITS, load_portrait
from asd_core.faces.align import CHIP_SIZE, align_matrix
from asd_core.faces.detect import Detector, open_detector
from asd_core.faces.embed import Embedder, open_embedder
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from training.embedder.data import DETECTOR, Chip, named_faces, scene_faces, track_faces
from training.embedder.pool import SHARD, ask, write_shard
from training.people import held_out

TEACHER = "mobilefacenet_arcface_128"
SAME_PERSON = 0.42  # of the teacher, 1 false match in some 3,000: a nameless face so like somebody kept out is not learnt from
NAMELESS = -1


def prepare(shared: Path, cache: Path, shards: int, most: int | None = None, seed: int = 11) -> None:
    """Write what is missing of the cache. `most` limits the real faces of each source, for a trial."""
    cache.mkdir(parents=True, exist_ok=True)
    models = [ModelFolder(shared / "models")]
    teacher = open_embedder(find("embedder", models, TEACHER), open_session)
    if not (cache / "faces.npz").is_file():
        detector = open_detector(find("detector", models, DETECTOR), open_session, input_size_wh=(640, 640))
        _write_faces(shared / "train", cache / "faces.npz", teacher, detector, most)
    told = np.load(cache / "faces.npz")
    kept = ~told["held_out"]
    faces, people = told["faces"][kept], told["people"][kept]
    weights = sampling_weights(people)
    for k in range(shards):
        path = cache / f"made_{k:02d}.npy"
        if not path.is_file():
            write_shard(path, faces, weights, teacher, np.random.default_rng([seed, k]), SHARD if most is None else most)


def sampling_weights(people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each face is drawn: a person with n pictures as often as sqrt(n) people with one; nameless faces as if each were somebody."""
    counts = np.bincount(people[people >= 0])
    return np.where(people >= 0, 1 / np.sqrt(np.maximum(counts[np.maximum(people, 0)], 1)), 0.7)


def _write_faces(train: Path, path: Path, teacher: Embedder, detector: Detector, most: int | None) -> None:
    named = list(named_faces(train / "faces"))
    if most is not None:
        named = named[:most] + [(person, chip) for person, chip in named[most:] if held_out(person)][:most]
    chips = np.stack([chip for _, chip in named])
    vectors = ask(teacher, chips, both_sides=True)
    names, people = np.unique([person for person, _ in named], return_inverse=True)
    out = np.array([held_out(person) for person in names])[people]
    nameless = [*_first(scene_faces(train / "scenes", detector), most), *_first(track_faces(train / "asd", detector), most)]
    others = np.stack(nameless)
    found = ask(teacher, others, both_sides=True)
    kept_out = np.concatenate([vectors[out], ask(teacher, np.stack([portrait_chip(name, detector) for name in PORTRAITS]), both_sides=True)])
    new = (found @ kept_out.T).max(axis=1) < SAME_PERSON
    print(f"{len(chips)} named faces of {len(names)} people, {out.sum()} held out; {new.sum()} nameless of {len(others)}")
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        faces=np.concatenate([chips, others[new]]),
        vectors=np.concatenate([vectors, found[new]]),
        people=np.concatenate([people, np.full(new.sum(), NAMELESS)]),
        held_out=np.concatenate([out, np.zeros(new.sum(), np.bool_)]),
        names=names,
    )
    part.replace(path)  # a kill leaves no half of it behind


def portrait_chip(name: str, detector: Detector) -> Chip:
    """Return the aligned face of one of the demo's portraits."""
    picture = load_portrait(name)
    points = detector.detect(picture, top=1).landmarks[0]
    return cv2.warpAffine(picture, align_matrix(points), (CHIP_SIZE, CHIP_SIZE), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _first(chips: Iterator[Chip], most: int | None) -> list[Chip]:
    return list(islice(chips, most))
