"""A made log, as a vector index follows one, for tests of the index."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from infra.catalog.index_log import IndexChanges
from infra.vectors.files import START

D = 16


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
