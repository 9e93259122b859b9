"""Search by photo: sure tracks first, then what they support; strangers find nobody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asd_core.identity.prototypes import unit
from asd_core.identity.search import SearchOptions, find_tracks, photo_query, photo_views

OPTIONS = SearchOptions(search_cosine=0.6, support_cosine=0.65)


@dataclass
class Near:
    id: int
    cosine: float


def search(query: np.ndarray, vectors: np.ndarray, options: SearchOptions = OPTIONS):
    def alike(queries: np.ndarray, cosine: float) -> list[list[Near]]:
        return [[Near(int(k), float(row[k])) for k in np.flatnonzero(row >= cosine)] for row in queries @ vectors.T]

    return find_tracks(query, alike, lambda k: vectors[k], options)


def at(cosine: float, axis: int, size: int = 8) -> np.ndarray:
    vector = np.zeros(size, np.float32)
    vector[0], vector[axis] = cosine, np.sqrt(1 - cosine**2)
    return vector


def test_a_sure_track_brings_what_is_alike_to_both() -> None:
    photo = at(1, 1)
    clear, small, other = at(0.8, 1), unit(0.5 * at(1, 1) + 0.75 * at(0, 1) + 0.5 * at(0, 2)), at(0.5, 3)
    found = search(photo, np.stack([small, other, clear]))
    assert [(f.id, f.sure, f.threshold) for f in found] == [(2, True, 0.6), (0, False, 0.65)]
    assert found[0].cosine == np.float32(0.8)


def test_a_stranger_finds_nobody() -> None:
    assert search(at(1, 1), np.stack([at(0.59, 1), at(0.5, 1), at(0.5, 2)])) == []
    assert search(at(1, 1), np.zeros((0, 8), np.float32)) == []


def test_views_of_a_photo() -> None:
    chip = np.random.default_rng(0).integers(0, 255, (112, 112, 3)).astype(np.uint8)
    views = photo_views(chip)
    assert views.shape == (3, 112, 112, 3)
    assert np.array_equal(views[0], chip)
    assert views[2].std() < views[1].std() < chip.std()
    assert np.isclose(np.linalg.norm(photo_query(unit(np.random.default_rng(1).normal(size=(3, 8))))), 1)
