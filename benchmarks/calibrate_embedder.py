"""Measures the cosines of an embedder's manifest on the training faces of ../shared/train/faces, and on nothing else.

    python -m benchmarks.calibrate_embedder edgeface_xs_512 [--models FOLDER] [--faces FOLDER] [--held-out] [--vectors FILE] [--json FILE]

5,851 pictures of 2,690 people; with `--held-out`, for an embedder that learnt from these very faces, those of the one person in ten
that its training keeps out. A *track* is one picture as a camera might have taken it: the face 20 to 80 pixels large, soft, compressed,
aligned not quite right, three times, averaged. Two tracks of one person come from two photographs, often years apart: harder than within
a programme, where thresholds at the same false-match rate keep more. The first three leave out faces smaller than `--clear-size` (24, or
more for an embedder that takes all small faces for alike): those bring no two people together, and the manifest states the size as
`clear_size`.

  same_person_cosine   track against track, 1 false match in 1,000 different pairs            people of one asset
  together_cosine      0.05 above 1 in a million of the same                                 mirrors and split screens against two people
  library_cosine       one to three tracks against as many, as `assign` compares them, 1 in 10,000     persons of the library
  search_cosine        photo against track, 3 in 100,000: 1 query in 100 shows a wrong person of 300    search
  support_cosine       photo and its 1 to 3 best tracks against track, 5 in 100,000           search, second step
  verify_cosine        picture against picture as they are, 1 in 1,000                        two given photos

A rate that fewer than three different pairs stand for is chance. There the tail is continued from the highest pair in a thousand on as an
exponential, which falls more slowly than that of cosines does, and the higher of that and of the highest pair is taken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np

from asd_core.faces.embed import Embedder, open_embedder
from asd_core.identity.assign import AssignOptions
from asd_core.identity.cluster import ClusterOptions
from asd_core.identity.prototypes import prototypes, template, unit
from asd_core.identity.search import photo_query, photo_views
from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session

SHARED = Path(__file__).resolve().parents[2] / "shared"
SIZES = np.array([20, 24, 28, 34, 40, 56, 80])  # longer side of the face in pixels
CHIP_FACE = 100.0  # of an aligned chip
FRAMES = 3
FEWEST, TAIL = 3, 1e-3  # pairs that a threshold may stand on; share of different pairs from which a tail is continued
HELD_OUT_BYTE = 26  # of 256: the people that training/people.py keeps out, by their names; a test compares
MOST_PICTURES, SINGLES = 8, 1500  # of one person; people with one picture, who can only be mistaken


def held_out(person: str) -> bool:
    """Return whether the embedder that ships never learnt from this person."""
    return hashlib.sha256(person.encode()).digest()[0] < HELD_OUT_BYTE


def read_faces(folder: Path, *, only_held_out: bool = False) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the chips and the number of each one's person."""
    chips, people = [], []
    for name in ("lfw_train.zip", "celebrity_train.zip"):
        with zipfile.ZipFile(folder / name) as archive:
            for entry in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
                if only_held_out and not held_out(entry.split("/")[0]):
                    continue
                chips.append(cv2.imdecode(np.frombuffer(archive.read(entry), np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
                people.append(entry.split("/")[0])
    return chips, np.unique(people, return_inverse=True)[1]


def choose(people: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    counts = np.bincount(people)
    singles = set(rng.permutation(np.flatnonzero(counts == 1))[:SINGLES].tolist())
    kept: list[int] = []
    for person, count in enumerate(counts):
        pictures = np.flatnonzero(people == person)
        if count > 1:
            kept += rng.permutation(pictures)[:MOST_PICTURES].tolist()
        elif person in singles:
            kept += pictures.tolist()
    return np.array(sorted(kept))


def from_afar(chip: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Return the chip as cut from a picture in which the face is `size` pixels large: soft, compressed, aligned not quite right."""
    pixels = max(8, round(112 * size / CHIP_FACE))
    small = cv2.resize(np.ascontiguousarray(chip), (pixels, pixels), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.8))
    packed = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 85))])[1]
    small = np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])
    turn, zoom = np.deg2rad(rng.uniform(-4, 4)), 1 + rng.uniform(-0.04, 0.04)
    c, s = np.cos(turn) * zoom, np.sin(turn) * zoom
    moved = np.array([[c, -s, 56 - 56 * c + 56 * s + rng.uniform(-2, 2)], [s, c, 56 - 56 * s - 56 * c + rng.uniform(-2, 2)]])
    k = 112 / pixels
    enlarged = moved[:, :2] @ np.array([[k, 0, (k - 1) / 2], [0, k, (k - 1) / 2]])
    enlarged[:, 2] += moved[:, 2]
    return cv2.warpAffine(small, enlarged, (112, 112), flags=cv2.INTER_LINEAR)


def embed_all(embedder: Embedder, folder: Path, *, only_held_out: bool = False) -> dict[str, np.ndarray]:
    chips, people = read_faces(folder, only_held_out=only_held_out)
    rng = np.random.default_rng(1)
    kept = choose(people, rng)
    who = people[kept]
    size = SIZES[rng.integers(0, len(SIZES), len(kept))]
    print(f"{len(kept)} pictures of {len(np.unique(who))} people", file=sys.stderr)
    sharp = embedder.embed(np.stack([chips[k] for k in kept]))[0]
    frames = [embedder.embed(np.stack([from_afar(chips[k], s, rng) for k, s in zip(kept, size, strict=True)]))[0] for _ in range(FRAMES)]
    photos = np.array([np.flatnonzero(who == p)[0] for p in np.unique(who) if (who == p).sum() > 1])
    queries = np.stack([photo_query(embedder.embed(photo_views(np.ascontiguousarray(chips[kept[k]])))[0]) for k in photos])
    mirrored = embedder.embed(np.stack([np.ascontiguousarray(chips[kept[k]][:, ::-1]) for k in photos]))[0]
    return {"sharp": sharp, "frames": np.stack(frames, 1), "size": size, "who": who, "photos": photos, "queries": queries, "mirrored": mirrored}


def at_rate(different: np.ndarray, rate: float) -> float:
    """Return the cosine that the share `rate` of different pairs reaches, continued beyond what they can tell."""
    k = max(1, int(rate * different.size))
    reached = float(np.partition(different, -k)[-k])
    if k >= FEWEST or rate >= TAIL:
        return reached
    start = float(np.quantile(different, 1 - TAIL))
    beyond = different[different > start] - start
    return max(reached, start + float(beyond.mean()) * float(np.log(TAIL / rate)))


def by_size(cosines: np.ndarray, same: np.ndarray, sizes: np.ndarray, threshold: float) -> dict[str, list[float]]:
    """Return for each size [share of same pairs found, share of different pairs taken for same]."""
    told = {}
    for size in np.unique(sizes):
        at = sizes == size
        told[str(size)] = [round(float((cosines[at & same] >= threshold).mean()), 4), float(f"{(cosines[at & ~same] >= threshold).mean():.2g}")]
    return told


def told(cosines: np.ndarray, same: np.ndarray, rate: float, sizes: np.ndarray | None = None) -> dict[str, object]:
    threshold = at_rate(cosines[~same], rate)
    row: dict[str, object] = {
        "threshold": round(threshold, 3),
        "false_match_rate": rate,
        "found": round(float((cosines[same] >= threshold).mean()), 4),
        "same_pairs": int(same.sum()),
        "different_pairs": int((~same).sum()),
    }
    return row if sizes is None else row | {"by_size": by_size(cosines, same, sizes, threshold)}


def measure(v: dict[str, np.ndarray], clear_size: float) -> dict[str, dict[str, object]]:
    who, size, tracks = v["who"], v["size"], unit(v["frames"].sum(axis=1))
    clear = size >= clear_size
    left, right = np.triu_indices(int(clear.sum()), 1)
    same = who[clear][left] == who[clear][right]
    smaller = np.minimum(size[clear][left], size[clear][right])
    pairs = (tracks[clear] @ tracks[clear].T)[left, right]
    rows = {
        "verify_cosine": told((v["sharp"][clear] @ v["sharp"][clear].T)[left, right], same, 1e-3),
        "same_person_cosine": told(pairs, same, 1e-3, smaller),
        "together_cosine": told(pairs, same, 1e-6),
    }
    together = at_rate(pairs[~same], 1e-6) + 0.05
    mirrored = (tracks[v["photos"]] * v["mirrored"]).sum(axis=1)[clear[v["photos"]]]
    rows["together_cosine"] |= {"threshold": round(together, 3), "mirrored_found": round(float((mirrored >= together).mean()), 4)}
    rows["library_cosine"] = library(v["frames"][clear], who[clear])
    rows["search_cosine"] = search(v["queries"], v["photos"], tracks, who, size)
    rows["support_cosine"] = support(v["queries"], v["photos"], tracks, who, size)
    return rows


def library(frames: np.ndarray, who: np.ndarray) -> dict[str, object]:
    """Groups of one to three pictures each, compared as `assign` compares them."""
    share, rng = AssignOptions().best_share, np.random.default_rng(2)
    means, looks, owner = [], [], []
    for person in np.unique(who):
        pictures = rng.permutation(np.flatnonzero(who == person))
        while len(pictures):
            few, pictures = np.split(pictures, [int(rng.integers(1, 4))])
            found, weight = prototypes(frames[few].reshape(-1, frames.shape[-1]), np.ones(len(few) * FRAMES, np.float32))
            means.append(template(found, weight))
            looks.append(found)
            owner.append(person)
    mean, owners = np.stack(means), np.array(owner)
    stacked, starts = np.concatenate(looks), np.cumsum([0, *map(len, looks[:-1])])
    best = np.stack([np.maximum.reduceat((own @ stacked.T).max(axis=0), starts) for own in looks])
    left, right = np.triu_indices(len(owners), 1)
    cosines = ((1 - share) * (mean @ mean.T) + share * np.maximum(best, best.T))[left, right]
    return told(cosines, owners[left] == owners[right], 1e-4) | {"groups": len(owners)}


def search(queries: np.ndarray, photos: np.ndarray, tracks: np.ndarray, who: np.ndarray, size: np.ndarray) -> dict[str, object]:
    cosines = queries @ tracks.T
    scored = np.ones(cosines.shape, np.bool_)
    scored[np.arange(len(photos)), photos] = False  # the photo's own picture
    same = (who[photos][:, None] == who)[scored]
    return told(cosines[scored], same, 3e-5, np.broadcast_to(size, cosines.shape)[scored])


def support(queries: np.ndarray, photos: np.ndarray, tracks: np.ndarray, who: np.ndarray, size: np.ndarray) -> dict[str, object]:
    """The photo with one to three good tracks of the same person (faces of 34 pixels and more) against the rest."""
    rng = np.random.default_rng(3)
    cosines, same, sizes = [], [], []
    for query, photo in zip(queries, photos, strict=True):
        own = np.flatnonzero(who == who[photo])
        good = [k for k in own if k != photo and size[k] >= 34][: int(rng.integers(1, 4))]
        if not good:
            continue
        scored = np.ones(len(who), np.bool_)
        scored[[photo, *good]] = False
        cosines.append((unit(query + tracks[good].sum(axis=0)) @ tracks.T)[scored])
        same.append((who == who[photo])[scored])
        sizes.append(size[scored])
    return told(np.concatenate(cosines), np.concatenate(same), 5e-5, np.concatenate(sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embedder")
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--faces", type=Path, default=SHARED / "train" / "faces")
    parser.add_argument("--held-out", action="store_true", help="only people that training/embedder keeps out: for rollcall_id")
    parser.add_argument("--vectors", type=Path, help="keep the vectors here (.npz), or take them from here")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--clear-size", type=float, default=ClusterOptions().clear_size, help="pixels from which a face may bring people together")
    told_to = parser.parse_args()
    cv2.setNumThreads(1)
    if told_to.vectors is not None and told_to.vectors.is_file():
        vectors = dict(np.load(told_to.vectors))
    else:
        embedder = open_embedder(find("embedder", [ModelFolder(told_to.models)], told_to.embedder), open_session)
        vectors = embed_all(embedder, told_to.faces, only_held_out=told_to.held_out)
        if told_to.vectors is not None:
            np.savez(told_to.vectors, **vectors)
    rows = measure(vectors, told_to.clear_size)
    if told_to.json is not None:
        told_to.json.write_text(json.dumps({"embedder": told_to.embedder, **rows}, indent=1) + "\n", encoding="utf-8")
    print(f"[thresholds]\nclear_size = {told_to.clear_size:g}")
    for name, row in rows.items():
        others = f"{row['false_match_rate']:g} of {row['different_pairs']:,} others"
        print(f"{name} = {row['threshold']}  # found {row['found']:.2%} of {row['same_pairs']}, {others}")
        for size, (found, mistaken) in row.get("by_size", {}).items():
            print(f"#   {size} px: found {found:.1%}, false matches {mistaken:g}")
    print(f"# mirrored faces of the same moment above together_cosine: {rows['together_cosine']['mirrored_found']:.1%}")


if __name__ == "__main__":
    main()
