"""Agglomeration: the most alike clusters join, step by step, unless a link forbids it or two rivals claim the same one.

What both the people of an asset and the persons of the library are made with; it knows similarities and links, not faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]  # (N, N), symmetric


@dataclass(frozen=True, slots=True)
class LinkageOptions:
    """When clusters join.

    Attributes:
        threshold: clusters less alike than this stay apart.
        best_share: a pair of clusters is as alike as their members on average, mixed with this share of their best pair: people have several
            looks, and the average alone would part them.
        overrule: a forbidden pair joins all the same from this similarity on; None: never.
        margin: a cluster joins no other while a rival, that could not join that other, is alike to within this much.
    """

    threshold: float
    best_share: float = 0.3
    overrule: float | None = None
    margin: float = 0.0


def agglomerate(
    mean: Matrix, best: Matrix, forbidden: NDArray[np.bool_], options: LinkageOptions, sizes: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """Return a cluster number (N,) for each member; numbers follow the first member of each cluster.

    Average linkage with a share of single linkage, cannot-links and a margin test. The result depends on the order of the members only where
    similarities tie exactly: callers sort them by what they are.

    Args:
        mean: (N, N) similarity of two members. Empty in, empty out.
        best: (N, N) similarity of their most alike looks, at least `mean`.
        forbidden: (N, N) pairs that must not share a cluster.
        options: see `LinkageOptions`.
        sizes: (N,) of how many each member stands for, whose average and best similarities are given; None: one each.

    Source: Lance and Williams 1967 (update of average linkage); Wagstaff et al. 2001 (cannot-links).
    """
    n = len(mean)
    if n == 0:
        return np.zeros(0, np.int64)
    return _Clusters(mean, best, forbidden, options, np.ones(n) if sizes is None else np.asarray(sizes, np.float64)).settle()


class _Clusters:
    """Clusters while they join. Row `a` speaks for the cluster whose first member is `a`; rows of joined ones are dead."""

    def __init__(self, mean: Matrix, best: Matrix, forbidden: NDArray[np.bool_], options: LinkageOptions, sizes: NDArray[np.float64]) -> None:
        self._options = options
        self._mean = mean.astype(np.float32)
        self._best = best.astype(np.float32)  # only ever one of the values given
        self._forbidden = forbidden | forbidden.T
        self._size = sizes.copy()
        self._alive = np.ones(len(mean), np.bool_)
        self._labels = np.arange(len(mean))
        np.fill_diagonal(self._forbidden, val=False)
        self._top = np.zeros(len(mean), np.int64)  # of each cluster, the one that it may join most
        self._value = np.zeros(len(mean))  # and how much; at most so much where it is open
        self._open = np.zeros(len(mean), np.bool_)  # its choice has joined another since: to be made anew when it could be the best of all
        for k in range(len(mean)):
            self._choose(k)
        self._blocked: set[tuple[int, int]] = set()

    def settle(self) -> NDArray[np.int64]:
        while True:
            a = int(self._value.argmax())
            b = int(self._top[a])
            if not self._value[a] >= self._options.threshold:
                break
            if self._open[a]:
                self._choose(a)
            elif self._ambiguous(a, b, float(self._value[a])):
                self._block(a, b)
            else:
                self._join(min(a, b), max(a, b))
        firsts = np.unique(self._labels)
        return np.searchsorted(firsts, self._labels)

    def _choose(self, a: int) -> None:
        """Note which other cluster `a` may join most."""
        row = self._row(a)
        self._top[a] = row.argmax()
        self._value[a] = row[self._top[a]]
        self._open[a] = False

    def _row(self, a: int) -> NDArray[np.float64]:
        """Return how much cluster `a` may join each other one; -inf where it must not."""
        share = self._options.best_share
        row = (1 - share) * self._mean[a].astype(np.float64) + share * self._best[a].astype(np.float64)
        limit = np.inf if self._options.overrule is None else self._options.overrule
        row = np.where(self._forbidden[a] & (row < limit), -np.inf, row)
        row[~self._alive] = -np.inf
        row[a] = -np.inf
        return row if self._alive[a] else np.full_like(row, -np.inf)

    def _ambiguous(self, a: int, b: int, similarity: float) -> bool:
        """Return whether a third cluster claims `a` or `b` about as much, and could not join the other."""
        if self._options.margin <= 0:
            return False
        close = max(similarity - self._options.margin, 0.0)
        with_a, with_b = self._row(a), self._row(b)
        rival_of_b = (with_a >= close) & (with_b < self._options.threshold)
        rival_of_a = (with_b >= close) & (with_a < self._options.threshold)
        rivals = rival_of_a | rival_of_b
        rivals[[a, b]] = False
        return bool(rivals.any())

    def _block(self, a: int, b: int) -> None:
        """Keep a pair apart until the next join."""
        self._blocked.add((min(a, b), max(a, b)))
        for row in (a, b):
            open_to = self._row(row)
            open_to[self._partners(row)] = -np.inf
            self._top[row] = open_to.argmax() if np.isfinite(open_to).any() else row  # which stands for nobody, should all others be blocked
            self._value[row] = open_to[self._top[row]]
            self._open[row] = False

    def _partners(self, row: int) -> list[int]:
        return [b if a == row else a for a, b in self._blocked if row in (a, b)]

    def _join(self, a: int, b: int) -> None:
        whole = self._size[a] + self._size[b]
        self._mean[a] = (self._size[a] * self._mean[a].astype(np.float64) + self._size[b] * self._mean[b]) / whole
        self._mean[:, a] = self._mean[a]
        self._best[a] = np.maximum(self._best[a], self._best[b])
        self._best[:, a] = self._best[a]
        self._forbidden[a] |= self._forbidden[b]
        self._forbidden[:, a] = self._forbidden[a]
        self._size[a] = whole
        self._alive[b] = False
        self._labels[self._labels == b] = a
        self._open |= np.isin(self._top, (a, b))
        freed = {k for pair in self._blocked for k in pair}  # a rival may have gone: every blocked pair is judged anew
        self._blocked.clear()
        for k in {a, b, *freed}:
            self._choose(k)
        joined = self._row(a)
        better = joined > self._value
        self._top[better], self._value[better], self._open[better] = a, joined[better], False
