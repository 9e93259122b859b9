"""One embedder's index as a process searches it: the newest snapshot, and over it what the log says since."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from asd_core.errors import ModelMismatch, RequestError
from infra.vectors.files import START, Position, Side, Snapshots
from infra.vectors.layer import CHUNK, EXACT_LIMIT, Ids, Match, Vectors
from infra.vectors.view import View

if TYPE_CHECKING:
    from infra.objects import ObjectStore

UNIT_TOLERANCE = 1e-2  # float16 storage moves a norm by less than this
CHANGES_AT_LEAST = 5_000  # a delta of so many changes, and of
CHANGES_SHARE = 0.02  # this share of the snapshot, is worth a new snapshot: searching it takes as long as searching 1 M through lists
NAMED = 5  # ids that a sentence names


class Changes(Protocol):
    """What a log says since a position (the catalogue's `index_changes`)."""

    @property
    def stands_at(self) -> Position:
        """Where an index stands that has applied this."""

    @property
    def whole(self) -> bool:
        """Whether `added` is everything that there is: the position asked for was the start, or none of this log."""

    @property
    def added(self) -> Iterable[tuple[int, bytes]]:
        """Yield ids and vectors, float32 little-endian, to add."""

    @property
    def removed(self) -> Sequence[int]:
        """Return ids to remove."""


Log = Callable[[Position], Changes]


class VectorIndex:
    """A cosine index of one embedder's vectors; shared by the threads of a process, each process has its own.

    What it finds is what it knew at the last `catch_up`. Missing or damaged files cost time, nothing else: the log holds everything.
    """

    def __init__(self, folder: Path, *, model: str, dimension: int, store: ObjectStore | None = None, exact_limit: int = EXACT_LIMIT) -> None:
        """Open the index of an embedder; nothing is read before it is needed.

        Args:
            folder: where snapshots lie; made if it is missing.
            model: sha256 of the embedder; each model has its own index.
            dimension: length of its vectors.
            store: where snapshots are mirrored, so that a new machine starts from one.
            exact_limit: with more vectors than this a snapshot has inverted lists (infra.vectors.layer).
        """
        if dimension < 1 or not model:
            raise RequestError("a vector index needs the embedder's digest and its dimension")
        self._snapshots = Snapshots(folder, store, model=model, dimension=dimension)
        self._dimension, self._exact_limit = dimension, exact_limit
        self._guard = threading.RLock()
        self._side: Side | None = None  # of the snapshot that is the base
        self._view = View.nothing(self._dimension)
        self._opened = False

    # ---- reading ------------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._seen())

    @property
    def stands_at(self) -> Position:
        """The place of the log up to which changes are in; `START` for an index that was never filled."""
        return self._seen().stands_at

    @property
    def changes(self) -> int:
        """How many vectors came, went or were replaced since the snapshot that this stands on."""
        return self._seen().changes

    @property
    def is_exact(self) -> bool:
        """Whether a search looks at every vector."""
        return not self._seen().base.has_lists

    def ids(self) -> Ids:
        """Return the (N,) ids, sorted."""
        return self._seen().ids

    def vector(self, ident: int) -> Vectors | None:
        """Return the (D,) vector of an id, None if it is not there."""
        return self._seen().vector(ident)

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """Return for each of (Q, D) queries the at most `k` most alike vectors, best first; ties by id.

        Cosines are exact; nothing is missed up to a million vectors. With more, one may be missing that lies in lists that are not looked
        into (docs/index.md says how often).

        Raises:
            ModelMismatch: the queries are of another dimension or not of norm 1.
        """
        return self._seen().nearest(self._checked(queries), k)

    def alike(self, queries: NDArray[np.float32], cosine: float) -> list[list[Match]]:
        """Return for each of (Q, D) queries all vectors of at least this cosine, best first; ties by id.

        Complete up to a million vectors. With more, those in lists that are not looked into are missing, more of them the lower the cosine
        (docs/index.md says how many); what is told has at least this cosine, and what came since the snapshot is complete.

        Raises:
            ModelMismatch: the queries are of another dimension or not of norm 1.
        """
        return self._seen().alike(self._checked(queries), cosine)

    # ---- following the log --------------------------------------------------------------------------------------------------

    def catch_up(self, log: Log) -> int:
        """Apply in memory what the log says since the last time, and return how many vectors there then are; writes nothing.

        Raises:
            ModelMismatch: a vector is of another dimension or not of norm 1; the index stays as it was.
        """
        with self._guard:
            seen = self._seen()
            self._follow(log, self._newer() if self.is_worth_a_snapshot(seen.changes, len(seen.base)) else None)
            return len(self._view)

    @staticmethod
    def is_worth_a_snapshot(changes: int, count: int) -> bool:
        """Say whether after so many changes a new snapshot in place of one of `count` vectors saves more than it costs."""
        return changes > max(CHANGES_AT_LEAST, CHANGES_SHARE * count)

    def newest_snapshot(self) -> tuple[Position, int]:
        """Return where the newest snapshot of the folder or the mirror stands, and how many vectors it holds; loads nothing."""
        sides = [side for side in (self._snapshots.here(), self._snapshots.mirrored()) if side is not None]
        return max(((side.stands_at, side.count) for side in sides), default=(START, 0))

    def snapshot(self, log: Log, *, afresh: bool = False, wait: bool = True) -> bool:
        """Catch up, write a snapshot of what there then is, and mirror it; return whether files were written.

        Nothing is written where the newest snapshot is whole and stands where the log does. kill -9 at any moment leaves the old snapshot
        or the new one.

        Args:
            log: says what happened since a position.
            afresh: take everything from the log, learn the lists anew, and write in any case: what `index rebuild` does.
            wait: for another process that is writing one; else do nothing then.

        Raises:
            ModelMismatch: as `catch_up`.
            Unavailable: nothing can be written, the store is out of reach, or another process has been writing for a minute.
        """
        with self._snapshots.writing(wait=wait) as mine, self._guard:
            if not mine:
                return False
            self._follow(log, (None, View.nothing(self._dimension)) if afresh else self._newer(locked=True))
            self._opened = True
            view, side = self._view, self._side
            written = afresh or view.stands_at != (START if side is None else side.stands_at)
            if written:
                own_lists = None if side is None else self._snapshots.lists_path(side)
                layer = view.base.joined(view.delta, view.hidden, exact_limit=self._exact_limit, own_lists=own_lists)
                side = self._snapshots.write(layer, view.stands_at)
                del layer, view  # their memory: the files are mapped instead
                self._side, self._view = side, View.over(self._snapshots.read(side), side.stands_at)
            if side is not None:
                self._snapshots.push(side)
            return written

    # ---- checking -----------------------------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Return what is wrong with the files of the folder, in sentences; no files are no fault."""
        path = self._snapshots.side_path
        if not path.exists():
            return []
        side = self._snapshots.here()
        if side is None:
            return [f"{path.name} is no side file of this embedder's index"]
        try:
            return self._snapshots.read(side).faults()
        except ValueError as error:
            return [f"{path.name}: {error}"]

    def differences(self, ids: Ids, vectors: Iterable[tuple[int, bytes]]) -> list[str]:
        """Return in sentences how the index differs from what it is a copy of.

        Args:
            ids: (N,) all ids that should be there.
            vectors: ids and vectors that should be equal, all or a sample.
        """
        view, mine, pairs = self._seen(), self.ids(), iter(vectors)
        missing, surplus = np.setdiff1d(ids, mine), np.setdiff1d(mine, ids)
        unequal = [ident for chunk in iter(lambda: list(islice(pairs, CHUNK)), []) for ident in view.unequal(chunk)]
        told = (("missing from the index", missing), ("in the index alone", surplus), ("not equal to the library's", unequal))
        return [f"{len(them)} vector{'s' * (len(them) > 1)} {words}: {_named(them)}" for words, them in told if len(them)]

    # ---- within -------------------------------------------------------------------------------------------------------------

    def _seen(self) -> View:
        if not self._opened:
            with self._guard:
                if not self._opened:
                    newer = self._newer()
                    self._side, self._view = newer if newer is not None else (None, View.nothing(self._dimension))
                    self._opened = True
        return self._view

    def _newer(self, *, locked: bool = False) -> tuple[Side, View] | None:
        """Return the newest snapshot that can be read, where this index does not stand on it already; the mirror's is fetched first."""
        mine = self._side.stands_at[0] if self._side is not None else -1
        distant, near = self._snapshots.mirrored(), self._snapshots.here()
        if distant is not None and distant.stands_at[0] > max(mine, near.stands_at[0] if near is not None else -1):
            with contextlib.nullcontext(locked) if locked else self._snapshots.writing(wait=False) as alone:
                if alone:  # else another process may be fetching it: what is here will do
                    self._snapshots.fetch(distant)
            near = self._snapshots.here()
        if near is None or near.stands_at[0] <= mine:
            return None
        try:
            return near, View.over(self._snapshots.read(near), near.stands_at)
        except ValueError:  # damaged: as if there were none
            return None

    def _follow(self, log: Log, start: tuple[Side | None, View] | None) -> None:
        """Apply the log to a snapshot in place of what there is, or to what there is."""
        side, view = start if start is not None else (self._side, self._seen())
        found = log(view.stands_at)
        if found.whole:
            side, view = None, View.nothing(self._dimension)
        self._side, self._view = side, view.with_changes(self._chunks(found.added), np.array(found.removed, np.int64), found.stands_at)

    def _chunks(self, added: Iterable[tuple[int, bytes]]) -> Iterator[tuple[Ids, Vectors]]:
        pairs = iter(added)
        while chunk := list(islice(pairs, CHUNK)):
            if any(len(vector) != 4 * self._dimension for _, vector in chunk):
                raise ModelMismatch(f"the index holds vectors of {self._dimension} numbers; one of another length was given")
            matrix = np.frombuffer(b"".join(vector for _, vector in chunk), "<f4").reshape(len(chunk), self._dimension)
            yield np.array([ident for ident, _ in chunk], np.int64), self._checked(matrix)

    def _checked(self, vectors: NDArray[np.float32]) -> Vectors:
        asked = np.ascontiguousarray(vectors, np.float32)
        if asked.ndim != 2 or asked.shape[1] != self._dimension:
            raise ModelMismatch(f"the index holds vectors of {self._dimension} numbers, got an array of shape {asked.shape}")
        if len(asked) and not np.all(np.abs(np.linalg.norm(asked, axis=1) - 1) <= UNIT_TOLERANCE):
            raise ModelMismatch("vectors of an index must have norm 1")
        return asked


def _named(ids: Sequence[int] | Ids) -> str:
    return ", ".join(str(int(ident)) for ident in ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
