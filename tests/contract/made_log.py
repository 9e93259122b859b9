"""A made log, as a vector index follows one, and the index that tests open on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from infra.catalog.index_log import IndexChanges
from infra.vectors import VectorIndex
from infra.vectors.files import START

D = 16
MODEL = "ab" * 32


def unit(count: int, seed: int = 0, dimension: int = D) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass
class Log:
    """A catalogue's log: what was added and removed in which order, and the vectors that there are."""

    name: str = "ours"
    entries: list[tuple[str, int]] = field(default_factory=list)
    vectors: dict[int, np.ndarray] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)  # positions that changes were asked for

    def add(self, ids, vectors) -> Log:
        for ident, vector in zip(ids, vectors, strict=True):
            self.entries.append(("add", int(ident)))
            self.vectors[int(ident)] = vector
        return self

    def remove(self, *ids: int) -> Log:
        for ident in ids:
            self.entries.append(("remove", ident))
            self.vectors.pop(ident, None)
        return self

    def mark(self, number: int) -> tuple[int, str]:
        return (number, f"{self.name} {number}") if number else START

    def pairs(self, ids=None):
        return ((ident, self.vectors[ident].astype("<f4").tobytes()) for ident in sorted(self.vectors if ids is None else ids))

    def __call__(self, since) -> IndexChanges:
        self.asked.append(since[0])
        end = self.mark(len(self.entries))
        if since == START or since[0] > len(self.entries) or since != self.mark(since[0]):
            return IndexChanges(end, True, self.pairs(), [])
        later = self.entries[since[0] :]
        added = {ident for action, ident in later if action == "add" and ident in self.vectors}
        return IndexChanges(end, False, self.pairs(added), sorted({ident for action, ident in later if action == "remove"}))


def opened(folder: Path, **given) -> VectorIndex:
    return VectorIndex(folder, model=MODEL, dimension=D, **given)


def side_of(folder: Path) -> Path:
    """Return where the side file of the index lies."""
    return folder / f"{MODEL[:16]}.json"


def files_of(folder: Path) -> dict[str, int]:
    """Return the files of a folder with their times, without locks."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix != ".lock"}


def assert_holds(index: VectorIndex, log: Log, *, queries: int = 5) -> None:
    """The index is what the log says, and finds what a loop over all vectors finds."""
    assert index.differences(np.array(sorted(log.vectors)), log.pairs()) == []
    assert (len(index), index.ids().tolist()) == (len(log.vectors), sorted(log.vectors))
    ids = np.array(sorted(log.vectors))
    matrix = np.stack([log.vectors[k] for k in ids]) if len(ids) else np.zeros((0, D), np.float32)
    asked = unit(queries, seed=99)
    for row, nearest, alike in zip(asked @ matrix.T, index.nearest(asked, 7), index.alike(asked, 0.3), strict=True):
        assert [m.id for m in nearest] == ids[np.argsort(-row, kind="stable")[:7]].tolist()
        assert [m.id for m in alike] == [k for _, k in sorted((-c, k) for c, k in zip(row, ids, strict=True) if c >= 0.3)]
        assert np.allclose([m.cosine for m in alike], np.sort(row[row >= 0.3])[::-1], atol=1e-6)
