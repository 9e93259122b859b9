"""The vector index: exact search over the tracks' vectors with FAISS. Only here is FAISS known.

Postgres is the truth; the index is a copy that knows which entry of the index log it stands at, and can be rebuilt at any time. On disk an
index is a FAISS file and a side file (JSON) that names it and says model, dimension, count, position and checksum. The side file is
replaced last and atomically: a reader sees the old pair or the new one. Writers of all processes take turns under a file lock; readers
look at the side file before each search and load what is newer. A log of deltas beside the snapshot can be put under `_write` and `_load`
without a change to callers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from asd_core.errors import ModelMismatch, RequestError, Unavailable

faiss.omp_set_num_threads(1)  # its own OpenMP pool beside ours oversubscribes a small machine

LOCK_SECONDS = 60.0
UNIT_TOLERANCE = 1e-2  # float16 storage moves a norm by less than this

Delta = tuple[int, Sequence[tuple[int, Any]], Sequence[int]]
"""Where the index then stands; (id, vector or its float32 bytes) to add; ids to remove."""


@dataclass(frozen=True, slots=True)
class Match:
    """One vector found: its id and the cosine to the query."""

    id: int
    cosine: float


@dataclass(frozen=True, slots=True)
class _Side:
    """What the side file says."""

    file: str
    sha256: str
    model: str
    dimension: int
    count: int
    stands_at: int


class VectorIndex:
    """An exact cosine index of one embedder's vectors, kept in a folder and shared by processes and threads.

    A missing or damaged pair of files is an empty index that stands at 0: the next `catch_up` rebuilds it.
    """

    def __init__(self, folder: Path, *, model: str, dimension: int) -> None:
        """Open the index of an embedder.

        Args:
            folder: where index files lie; made if it is missing.
            model: sha256 of the embedder; each model has its own index.
            dimension: length of its vectors.
        """
        if dimension < 1 or not model:
            raise RequestError("a vector index needs the embedder's digest and its dimension")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._model, self._dimension = folder, model, dimension
        self._stem = model[:16]
        self._guard = threading.RLock()
        self._known: tuple[int, int] | None = None  # inode and mtime of the side file that is loaded
        self._empty()

    # ---- reading ------------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._guard:
            self._refresh()
            return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def stands_at(self) -> int:
        """The entry of the index log up to which changes are in; 0 for an index that was never filled."""
        with self._guard:
            self._refresh()
            return self._stands_at

    def ids(self) -> NDArray[np.int64]:
        """Return the (N,) ids, sorted."""
        with self._guard:
            self._refresh()
            return np.sort(faiss.vector_to_array(self._index.id_map)) if self._index.ntotal else np.zeros(0, np.int64)

    def vector(self, ident: int) -> NDArray[np.float32] | None:
        """Return the (D,) vector of an id, None if it is not there."""
        with self._guard:
            self._refresh()
            try:
                return np.asarray(self._index.reconstruct(int(ident)), np.float32)
            except RuntimeError:  # what FAISS raises for an id that it does not hold
                return None

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """Return for each of (Q, D) queries the at most `k` most alike vectors, best first; ties by id.

        Raises:
            ModelMismatch: the queries are of another dimension or not of norm 1.
        """
        with self._guard:
            self._refresh()
            count = min(k, int(self._index.ntotal))
            asked = self._checked(queries)
            if count < 1 or not len(asked):
                return [[] for _ in asked]
            cosines, ids = self._index.search(asked, count)
        return [_ordered(row, found) for row, found in zip(cosines, ids, strict=True)]

    def alike(self, queries: NDArray[np.float32], cosine: float) -> list[list[Match]]:
        """Return for each of (Q, D) queries all vectors of at least this cosine, best first; ties by id.

        Raises:
            ModelMismatch: the queries are of another dimension or not of norm 1.
        """
        with self._guard:
            self._refresh()
            asked = self._checked(queries)
            if not self._index.ntotal or not len(asked):
                return [[] for _ in asked]
            # FAISS keeps what is strictly above the radius
            limits, cosines, ids = self._index.range_search(asked, float(np.nextafter(np.float32(cosine), np.float32(-2))))
        return [_ordered(cosines[a:b], ids[a:b]) for a, b in zip(limits[:-1].astype(int), limits[1:].astype(int), strict=True)]

    # ---- writing ------------------------------------------------------------------------------------------------------------

    def catch_up(self, delta_since: Callable[[int], Delta]) -> int:
        """Bring the index to where the log stands, and return how many vectors it then holds.

        Args:
            delta_since: told where the index stands, says what is new since (the catalogue's `index_delta`). From 0 on that is the whole
                index. Applying a delta twice changes nothing.

        Raises:
            ModelMismatch: a vector is of another dimension or not of norm 1; the index stays as it was.
            Unavailable: another process has held the lock for a minute.
        """
        with self._writing():
            stands_at, added, removed = delta_since(self._stands_at)
            if not added and not removed and stands_at == self._stands_at and self._known is not None:
                return int(self._index.ntotal)
            self._write(self._changed(added, removed, afresh=self._stands_at == 0), stands_at)
            return int(self._index.ntotal)

    def rebuild(self, vectors: Iterable[tuple[int, Any]], *, stands_at: int) -> int:
        """Replace the index by these (id, vector) pairs, and return how many it then holds; raises as `catch_up` does."""
        with self._writing():
            self._write(self._changed(list(vectors), (), afresh=True), stands_at)
            return int(self._index.ntotal)

    def verify(self) -> str | None:
        """Return None if the files are whole and hold what they say, else what is wrong in one sentence."""
        path = self._side_path
        if not path.is_file():
            return f"{path.name} is missing: the index was never written"
        try:
            self._load(_Side(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            return f"{path.name}: {error}"
        return None

    # ---- within -------------------------------------------------------------------------------------------------------------

    @property
    def _side_path(self) -> Path:
        return self._folder / f"{self._stem}.json"

    def _empty(self) -> None:
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(self._dimension))
        self._stands_at = 0

    def _refresh(self) -> None:
        """Load the files if they have changed since the last look; a damaged pair is an empty index."""
        for _ in range(3):  # a writer may replace the pair between our two reads
            try:
                stat = self._side_path.stat()
            except FileNotFoundError:
                if self._known is not None:
                    self._empty()
                self._known = None
                return
            if (stat.st_ino, stat.st_mtime_ns) == self._known:
                return
            try:
                side = _Side(**json.loads(self._side_path.read_text(encoding="utf-8")))
                self._index, self._stands_at = self._load(side), side.stands_at
                self._known = (stat.st_ino, stat.st_mtime_ns)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, RuntimeError):
                break
            return
        self._empty()
        self._known = None

    def _load(self, side: _Side) -> Any:
        """Return the index that a side file names.

        Raises:
            ValueError: it is not what the side file says.
        """
        if side.model != self._model or side.dimension != self._dimension:
            raise ValueError("written for another embedder")
        path = self._folder / Path(side.file).name
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != side.sha256:
                raise ValueError(f"{path.name} does not have the checksum that its side file states")
        index = faiss.read_index(str(path))
        if index.d != self._dimension or index.ntotal != side.count:
            raise ValueError(f"{path.name} holds {index.ntotal} vectors of {index.d} numbers, expected {side.count} of {self._dimension}")
        return index

    def _changed(self, added: Sequence[tuple[int, Any]], removed: Sequence[int], *, afresh: bool) -> Any:
        """Return a copy of the index with vectors removed and added; an id that is added again is replaced."""
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(self._dimension)) if afresh else faiss.clone_index(self._index)
        ids = np.array([ident for ident, _ in added], np.int64)
        if len(np.unique(ids)) != len(ids):
            raise ModelMismatch("a vector id was given twice")
        rows = [np.frombuffer(v, "<f4") if isinstance(v, bytes | memoryview) else np.asarray(v, np.float32) for _, v in added]
        if any(row.shape != (self._dimension,) for row in rows):
            raise ModelMismatch(f"the index holds vectors of {self._dimension} numbers; one of another length was given")
        matrix = self._checked(np.stack(rows)) if rows else None
        gone = np.unique(np.concatenate([np.array(list(removed), np.int64), ids]))
        if len(gone) and index.ntotal:
            index.remove_ids(gone)
        if matrix is not None:
            index.add_with_ids(matrix, ids)
        return index

    def _checked(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        asked = np.ascontiguousarray(vectors, np.float32)
        if asked.ndim != 2 or asked.shape[1] != self._dimension:
            raise ModelMismatch(f"the index holds vectors of {self._dimension} numbers, got an array of shape {asked.shape}")
        if len(asked) and not np.all(np.abs(np.linalg.norm(asked, axis=1) - 1) <= UNIT_TOLERANCE):
            raise ModelMismatch("vectors of an index must have norm 1")
        return asked

    def _write(self, index: Any, stands_at: int) -> None:
        """Put an index into a new file, then make the side file name it, then drop the old file. Under the lock."""
        name = f"{self._stem}-{stands_at}-{time.time_ns():x}.faiss"
        path = self._folder / name
        faiss.write_index(index, str(path))
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        side = _Side(name, digest, self._model, self._dimension, int(index.ntotal), stands_at)
        _replace(self._side_path, json.dumps(asdict(side), indent=1).encode())
        for old in self._folder.glob(f"{self._stem}-*.faiss"):
            if old.name != name:
                old.unlink(missing_ok=True)
        stat = self._side_path.stat()
        self._index, self._stands_at, self._known = index, stands_at, (stat.st_ino, stat.st_mtime_ns)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of this index over all processes, with the newest files loaded."""
        deadline = time.monotonic() + LOCK_SECONDS
        with (self._folder / f"{self._stem}.lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Unavailable("another process holds the vector index; try again") from None
                    time.sleep(0.02)
            with self._guard:
                self._refresh()
                yield


def _ordered(cosines: NDArray[np.float32], ids: NDArray[np.int64]) -> list[Match]:
    found = [Match(int(i), float(c)) for c, i in zip(cosines, ids, strict=True) if i >= 0]
    return sorted(found, key=lambda m: (-m.cosine, m.id))


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new."""
    part = path.with_name(f".part-{path.name}")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
