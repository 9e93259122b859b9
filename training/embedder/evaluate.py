"""Held-out people: are two pictures of one person told from two of different people, sharp and degraded; and does the length fall with quality?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.evaluate.verification import tar_at_far, ten_fold
from asd_core.faces.align import CHIP_SIZE
from asd_core.faces.detect import Detector, open_detector
from asd_core.faces.embed import Embedder
from asd_core.models.registry import Model, ModelFolder, find
from asd_core.models.session import open_session
from training.embedder.augment import CHIP_FACE
from training.embedder.data import DETECTOR, Chip

BESIDE = ("mobilefacenet_arcface_128", "edgeface_xs_512")  # the teacher, and a yardstick that nothing is learnt from
POSES = (("frontal", 0.0, 0.12), ("half", 0.12, 0.25), ("turned", 0.25, np.inf))  # the nose's shift in eye distances
FOLDS = 10
MOST_PICTURES = 10  # of one person: pairs grow with the square


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pictures (N, 112, 112, 3), the teacher's vectors (N, D) and the numbers (N,) of people that nothing was learnt from."""

    faces: NDArray[np.uint8]
    vectors: NDArray[np.float32]
    people: NDArray[np.int64]

    def from_afar(self, size: float) -> NDArray[np.uint8]:
        """Return the pictures as of faces of `size` pixels, enlarged again."""
        return np.stack([shrunk(face, size) for face in self.faces])


def shrunk(face: Chip, size: float) -> Chip:
    """Return the chip as cut from a picture in which the face has `size` pixels."""
    side = round(CHIP_SIZE * size / CHIP_FACE)
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (CHIP_SIZE, CHIP_SIZE), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def blurred(face: Chip, spread: float) -> Chip:
    """Return the chip out of focus, `spread` in chip pixels (standard deviation)."""
    return cv2.GaussianBlur(face, (0, 0), spread).astype(np.uint8, copy=False)


def grey(face: Chip) -> Chip:
    """Return the chip without colour."""
    return np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


CONDITIONS: Mapping[str, Callable[[Chip], Chip]] = {
    "sharp": lambda face: face,
    **{f"{size} px": partial(shrunk, size=size) for size in (56, 40, 28, 20, 14)},
    **{f"blur {spread}": partial(blurred, spread=spread) for spread in (1, 2, 3, 4)},
    "grey": grey,
}
FALLING = {"small": ("sharp", "56 px", "40 px", "28 px", "20 px", "14 px"), "blur": ("sharp", "blur 1", "blur 2", "blur 3", "blur 4")}


def verification(left: NDArray[np.float32], right: NDArray[np.float32], people: NDArray[np.int64], seed: int = 7) -> dict[str, float]:
    """Return the ten-fold accuracy on equally many same and different pairs, and the share of same pairs found at 1 % and 0.1 % false ones.

    Args:
        left: vectors (N, D) of any length, one per picture.
        right: vectors of the same pictures, degraded or not; pair (i, j), i < j, compares left i with right j.
        people: (N,).
        seed: of the choice of different pairs for the accuracy, and of the folds.
    """
    rng = np.random.default_rng(seed)
    kept = _few(people, rng)
    a, b = np.triu_indices(len(kept), 1)
    cosines = (unit(left[kept]) @ unit(right[kept]).T)[a, b]
    same = people[kept][a] == people[kept][b]
    pairs = np.concatenate([np.flatnonzero(same), rng.choice(np.flatnonzero(~same), same.sum(), replace=False)])
    of = _fold(people[kept][a[pairs]])
    judged = ten_fold([cosines[pairs[of == k]] for k in range(FOLDS)], [same[pairs[of == k]] for k in range(FOLDS)])
    one, tenth = tar_at_far(cosines[same], cosines[~same], 0.01), tar_at_far(cosines[same], cosines[~same], 0.001)
    return {
        "accuracy": judged.accuracy, "error": judged.standard_error, "threshold": judged.threshold, "tar_1": one[0], "cosine_1": one[1],
        "tar_01": tenth[0], "cosine_01": tenth[1], "same_pairs": int(same.sum()), "different_pairs": int((~same).sum()),
    }  # fmt: skip


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors (N, D) of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _column(table: Path) -> list[str]:
    return [row.split(",")[0] for row in table.read_text(encoding="utf-8").splitlines()[1:]]


def _few(people: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of at most `MOST_PICTURES` of each person."""
    return np.concatenate([rng.permutation(np.flatnonzero(people == person))[:MOST_PICTURES] for person in np.unique(people)])


def _fold(people: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each pair by the person on its left."""
    return np.unique(people, return_inverse=True)[1] % FOLDS


def compare(cache: Path, own: Path, shared: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return by embedder and condition what `verification` says of held-out people, and how length goes with quality.

    Each condition degrades one picture of a pair; the other stays as it is. Beside ours stand the teacher and a yardstick.
    """
    with np.load(cache / "faces.npz") as told:
        out = told["held_out"]
        held_out = HeldOut(told["faces"][out], told["vectors"][out], told["people"][out])
        names = told["names"][held_out.people]
    of_lfw = ~np.isin(names, [path.split("/")[0] for path in _column(shared / "train" / "faces" / "celebrity_people.csv")])
    folders = [ModelFolder(own.parent), ModelFolder(shared / "models")]
    detector = open_detector(find("detector", folders, DETECTOR), open_session, input_size_wh=(128, 128))
    turned = np.array([turn(face, detector) for face in held_out.faces])
    return {name: judged(find("embedder", folders, name), held_out, turned, of_lfw) for name in ("rollcall_id", *BESIDE)}


def turn(face: Chip, detector: Detector) -> float:
    """Return how far a head is turned aside: the nose from between the eyes, in eye distances; 0 from the front, NaN where no face is found."""
    found = detector.detect(face, top=1, by="centre")
    if not len(found):
        return float("nan")
    left, right, nose = found.landmarks[0][:3]
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    return float(abs((nose - (left + right) / 2) @ along) / max(float(np.linalg.norm(right - left)), 1e-6))


def judged(model: Model, held_out: HeldOut, turned: NDArray[np.float64], of_lfw: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Return the rows of one embedder: one per condition, `lfw` without the celebrity sample, `pose` and `falls`."""
    manifest = replace(model.manifest, output=replace(model.manifest.output, quality="norm"))  # lengths are asked of all, whatever they are worth
    embedder = Embedder(open_session(model.paths["network"]), manifest, model.sha256)
    found = {}
    for name, change in CONDITIONS.items():
        vectors, lengths = embedder.embed(np.stack([change(face) for face in held_out.faces]))
        found[name] = vectors, np.asarray(lengths, np.float32)
    sharp = found["sharp"][0]
    rows = {}
    for name, (vectors, lengths) in found.items():
        rows[name] = verification(sharp, vectors, held_out.people)
        rows[name] |= {"length": float(np.mean(lengths)), "likeness": float((sharp * vectors).sum(axis=1).mean())}
    rows["lfw"] = verification(sharp[of_lfw], sharp[of_lfw], held_out.people[of_lfw])
    return rows | {"falls": falls(found), "pose": by_pose(sharp, held_out.people, turned, rows["sharp"]["cosine_1"])}


def by_pose(vectors: NDArray[np.float32], people: NDArray[np.int64], turned: NDArray[np.float64], cosine: float) -> dict[str, float]:
    """Return by how far the more turned face of a pair is turned the shares of same and of different pairs that reach a cosine, and their numbers."""
    kept = _few(people, np.random.default_rng(7))
    people, turned, vectors = people[kept], turned[kept], vectors[kept]
    a, b = np.triu_indices(len(people), 1)
    same, far = people[a] == people[b], np.maximum(turned[a], turned[b])
    reached = (vectors @ vectors.T)[a, b] >= cosine
    told: dict[str, float] = {}
    for name, low, high in POSES:
        at = (far >= low) & (far < high)
        told |= {
            f"{name} found": float(reached[at & same].mean()),
            f"{name} false": float(reached[at & ~same].mean()),
            f"{name} same": int((at & same).sum()),
        }
    return told


def falls(found: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> dict[str, float]:
    """Return Spearman's correlation of length with blur and with smallness, and with the likeness to the sharp picture.

    `small` and `blur` are means over the versions of each picture; `small_all` and `blur_all` throw the versions of all pictures together.
    """
    told, likeness, lengths = {}, [], []
    sharp = found["sharp"][0]
    for what, names in FALLING.items():
        table = np.stack([found[name][1] for name in names])  # (versions, N), from good to bad
        order = np.arange(len(names))
        told[what] = float(np.mean([spearman(order, column) for column in table.T]))
        told[f"{what}_all"] = spearman(np.repeat(order, table.shape[1]), table.ravel())
        likeness += [(sharp * found[name][0]).sum(axis=1) for name in names]
        lengths.append(table.ravel())
    told["likeness_all"] = spearman(np.concatenate(likeness), np.concatenate(lengths))
    return told


def spearman(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Return the rank correlation of two series (N,); equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]
