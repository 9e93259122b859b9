"""Two layers as one: a snapshot's vectors, and over them what came and went since. Never changed, so that searches need no lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from asd_core.errors import ModelMismatch
from infra.vectors.files import START, Position
from infra.vectors.layer import NO_IDS, Ids, Layer, Match, Vectors


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is searched: `base` without its `hidden` ids (removed, or replaced), and `delta`, which is always searched exactly."""

    base: Layer
    delta: Layer
    hidden: Ids
    stands_at: Position

    @classmethod
    def over(cls, base: Layer, stands_at: Position) -> View:
        """Return a view of a layer to which nothing has happened."""
        return cls(base, Layer.empty(base.dimension), NO_IDS, stands_at)

    @classmethod
    def nothing(cls, dimension: int) -> View:
        """Return the view of an index that was never filled."""
        return cls.over(Layer.empty(dimension), START)

    def __len__(self) -> int:
        return len(self.base) - len(self.hidden) + len(self.delta)

    @property
    def changes(self) -> int:
        """How many vectors came, went or were replaced since the base."""
        return len(self.hidden) + len(self.delta)

    @property
    def ids(self) -> Ids:
        """The (N,) ids, sorted."""
        return np.sort(np.concatenate([np.setdiff1d(self.base.ids, self.hidden, assume_unique=True), self.delta.ids]))

    def vector(self, ident: int) -> Vectors | None:
        """Return the (D,) vector of an id, None if it is not there."""
        found = self.delta.vector(ident)
        return found if found is not None or ident in self.hidden else self.base.vector(ident)

    def nearest(self, queries: Vectors, k: int) -> list[list[Match]]:
        """Return for each of (Q, D) queries the at most `k` most alike vectors, best first; ties by id."""
        return [found[:k] for found in self._merged(lambda layer, hidden: layer.nearest(queries, k, hidden))]

    def alike(self, queries: Vectors, cosine: float) -> list[list[Match]]:
        """Return for each of (Q, D) queries all vectors of at least this cosine, best first; ties by id."""
        return self._merged(lambda layer, hidden: layer.alike(queries, cosine, hidden))

    def _merged(self, search: Callable[[Layer, Ids], list[list[Match]]]) -> list[list[Match]]:
        both = zip(search(self.base, self.hidden), search(self.delta, NO_IDS), strict=True)
        return [sorted((*old, *new), key=lambda match: (-match.cosine, match.id)) for old, new in both]

    def with_changes(self, added: Iterator[tuple[Ids, Vectors]], removed: Ids, stands_at: Position) -> View:
        """Return a view that also has what was added and lacks what was removed; an id that is added again is replaced.

        Raises:
            ModelMismatch: an id was added twice.
        """
        first = next(added, None)
        if first is None and not len(removed):
            return View(self.base, self.delta, self.hidden, stands_at)
        delta = self.delta.with_changes(chain([first] if first is not None else [], added), removed)
        if len(np.unique(delta.ids)) != len(delta):
            raise ModelMismatch("a vector id was given twice")
        hidden = np.union1d(self.hidden, self.base.held(np.concatenate([removed, delta.ids])))
        return View(self.base, delta, hidden, stands_at)

    def unequal(self, pairs: Sequence[tuple[int, bytes]]) -> list[int]:
        """Return the ids whose vectors, where they are held, are not those of the (id, float32 bytes) pairs."""
        given = dict(pairs)
        ids = np.array(list(given), np.int64)
        fresh, old = self.delta.held(ids), np.setdiff1d(self.base.held(ids), self.hidden)
        return [
            int(ident)
            for layer, held in ((self.delta, fresh), (self.base, old))
            for ident, vector in zip(held, layer.vectors(held), strict=True)
            if vector.astype("<f4").tobytes() != bytes(given[int(ident)])
        ]
