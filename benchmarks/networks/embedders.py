"""Embedders: LFW's pairs through detect, align, embed; and the same against different people across the clips."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.evaluate.verification import Pair, read_lfw_pairs, tar_at_far, ten_fold
from asd_core.faces.align import CHIP_SIZE, align_matrix
from asd_core.faces.detect import choose_top, open_detector
from asd_core.faces.embed import Embedder, open_embedder
from asd_core.models.registry import Model, find
from asd_core.models.session import open_session
from asd_core.records import Detections
from benchmarks.networks.keeping import code, digest, kept_arrays, kept_json
from benchmarks.networks.material import FOLDERS, MEDIA, Clip
from benchmarks.networks.measures import area

LFW = MEDIA / "faces" / "lfw"
CHIPS_BY = "yunet_n_dynamic"  # whose landmarks align the faces for every embedder
FOUND_NOBODY = -1.0  # cosine of a pair with a picture in which no face was found
FARS = (0.01, 0.001)
# The rules that name tracks were checked by eye. They fail in the two films (the largest face is not the one person of the truth), and
# the clips built from others repeat their pictures.
NOT_FOR_FACES = (
    "film_bw_1940_office_women", "film_silent_chaplin", "split_listener_and_talker_constructed", "split_two_alternating_constructed",
)  # fmt: skip
CUT_CODE = tuple(f"asd_core/{name}.py" for name in ("faces/align", "faces/detect", "faces/scrfd", "faces/yunet"))
EMBED_CODE = (*CUT_CODE, "asd_core/faces/embed.py")
CODE = (*EMBED_CODE, "asd_core/evaluate/verification.py", "benchmarks/networks/embedders.py", "benchmarks/networks/measures.py")


def measure_lfw(model: Model, detector_name: str = CHIPS_BY) -> dict[str, Any]:
    """Return the marks of an embedder on both lists of LFW pairs, faces cut by the landmarks of a detector."""
    detecting = find("detector", FOLDERS, detector_name)
    key = digest(model.key, detecting.key, (LFW / "pairs.txt").read_bytes(), (LFW / "pairsDevTest.txt").read_bytes(), code(*CODE))
    return kept_json(f"lfw.{model.name}.{detecting.name}", key, lambda: _measure_lfw(model, detecting))  # type: ignore[no-any-return]


def _measure_lfw(model: Model, detecting: Model) -> dict[str, Any]:
    with zipfile.ZipFile(LFW / "images.zip") as pictures:
        listed = digest([(entry.filename, entry.CRC) for entry in pictures.infolist()])
    cut = kept_arrays(f"lfw_chips.{detecting.name}", digest(listed, detecting.key, code(*CUT_CODE)), lambda: _cut_lfw(detecting))
    key = digest(cut["chips"], model.key, code(*EMBED_CODE))
    vectors = kept_arrays(
        f"lfw_vectors.{model.name}.{detecting.name}", key, lambda: {"vectors": open_embedder(model, open_session).embed(cut["chips"])[0]}
    )["vectors"]
    seen = {str(name): vectors[k] if cut["found"][k] else None for k, name in enumerate(cut["names"])}
    folds = read_lfw_pairs((LFW / "pairs.txt").read_text())
    (quick,) = read_lfw_pairs((LFW / "pairsDevTest.txt").read_text())
    return {
        "pictures": len(seen),
        "without_face": int((~cut["found"]).sum()),
        "pairs": _marks([_cosines(fold, seen) for fold in folds]),
        "dev_test": _marks(_in_ten(_cosines(quick, seen))),
    }


def _cut_lfw(detecting: Model) -> dict[str, np.ndarray]:
    """Return the chips of all pictures: of the face nearest the centre among those that the detector is sure of."""
    detector = open_detector(detecting, open_session)
    names, chips, found = [], [], []
    with zipfile.ZipFile(LFW / "images.zip") as pictures:
        for name in sorted(entry for entry in pictures.namelist() if entry.endswith(".jpg")):
            picture = np.ascontiguousarray(cv2.imdecode(np.frombuffer(pictures.read(name), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])
            faces = detector.detect(picture)
            sure = faces.scores >= detector.score_threshold
            faces = Detections(faces.boxes[sure], faces.scores[sure], faces.landmarks[sure])
            names.append(name.rsplit("/", 1)[-1].removesuffix(".jpg"))
            found.append(len(faces) > 0)
            chips.append(np.zeros((CHIP_SIZE, CHIP_SIZE, 3), np.uint8))
            if len(faces):
                (central,) = choose_top(faces, (picture.shape[1], picture.shape[0]), top=1, by="centre")
                chips[-1] = cv2.warpAffine(picture, align_matrix(faces.landmarks[central]), (CHIP_SIZE, CHIP_SIZE), flags=cv2.INTER_LINEAR)
    return {"names": np.array(names), "chips": np.stack(chips), "found": np.array(found)}


def _cosines(pairs: Sequence[Pair], seen: dict[str, NDArray[np.float32] | None]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    cosines = []
    for pair in pairs:
        left, right = (seen[f"{name}_{number:04d}"] for name, number in (pair.left, pair.right))
        cosines.append(FOUND_NOBODY if left is None or right is None else float(left @ right))
    return np.array(cosines), np.array([pair.same for pair in pairs])


def _in_ten(told: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Return the pairs of a list without folds in ten, each with every tenth pair."""
    return [(told[0][k::10], told[1][k::10]) for k in range(10)]


def _marks(folds: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> dict[str, Any]:
    result = ten_fold([cosines for cosines, _ in folds], [same for _, same in folds])
    cosines, same = (np.concatenate([fold[k] for fold in folds]) for k in (0, 1))
    return {"accuracy": result.accuracy, "standard_error": result.standard_error, "threshold": result.threshold, **_ranked(cosines, same)}


def _ranked(cosines: NDArray[np.floating], same: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what does not depend on a threshold: pairs, area, and the share of same pairs accepted at the rates of `FARS` with its cosine."""
    alike, unlike = cosines[same], cosines[~same]
    return {
        "same": len(alike),
        "different": len(unlike),
        "area": area(alike, unlike),
        "same_mean": float(alike.mean()),
        "different_mean": float(unlike.mean()),
        "tar": {str(far): tar_at_far(alike, unlike, far) for far in FARS},
    }


def measure_clips(model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """Return how an embedder tells the people of the clips apart.

    Same pairs are chips of one person from different clips (a person on one track looks like himself); different pairs are chips of
    different people, from one clip or two. `tracks` is the same for the means of a track's chips.
    """
    clips = [clip for clip in clips if clip.name not in NOT_FOR_FACES]
    key = digest(model.key, *(digest(c.name, c.people, *c.chips) for c in clips), code(*CODE))
    return kept_json(f"clip_faces.{model.name}", key, lambda: _measure_clips(model, clips))  # type: ignore[no-any-return]


def _measure_clips(model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    embedder = open_embedder(model, open_session)
    views = [view for clip in clips for view in _views(clip, embedder)]
    whole = [(person, clip, mean / max(float(np.linalg.norm(mean)), 1e-12)) for person, clip, mean in _means(views)]
    return {"people": len({person for person, _, _ in views}), "chips": compare_views(views), "tracks": compare_views(whole)}


def _views(clip: Clip, embedder: Embedder) -> list[tuple[str, str, NDArray[np.float32]]]:
    """Return (person, clip and track, vectors (K, D)) of every track whose person is known."""
    known = [(person, track.id, chips) for person, track, chips in zip(clip.people, clip.tracks, clip.chips, strict=True)]
    return [(person, f"{clip.name}/{track}", embedder.embed(chips)[0]) for person, track, chips in known if person and len(chips)]


def _means(views: Sequence[tuple[str, str, NDArray[np.float32]]]) -> list[tuple[str, str, NDArray[np.float32]]]:
    return [(person, place, vectors.mean(axis=0, keepdims=True)) for person, place, vectors in views]


def compare_views(views: Sequence[tuple[str, str, NDArray[np.float32]]]) -> dict[str, Any]:
    """Return the marks over all pairs of vectors of different tracks: (person, "clip/track", (K, D)) each."""
    cosines, same, twice = [np.zeros(0)], [np.zeros(0, np.bool_)], set()
    for (person, place, vectors), (other, elsewhere, others) in combinations(views, 2):
        if person == other and place.split("/")[0] == elsewhere.split("/")[0]:
            continue  # one recording: too easy
        products = (vectors @ others.T).ravel()
        cosines.append(products)
        same.append(np.full(len(products), person == other))
        if person == other:
            twice.add(person)
    return {**_ranked(np.concatenate(cosines), np.concatenate(same)), "same_people": len(twice)}
