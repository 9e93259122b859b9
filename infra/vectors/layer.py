"""One layer of an index: vectors of norm 1 under ids, never changed once made; searched exactly or through inverted lists.

Up to `EXACT_LIMIT` vectors a search looks at all of them (`IndexFlatIP` under `IndexIDMap2`). Above, vectors are also sorted into lists
round about sqrt(N) centres (`IndexIVFScalarQuantizer`, half precision): a search looks into the lists whose centres are nearest, as many as
hold `LOOKED_AT` vectors, and what it finds there is measured again with the full vectors, so that every cosine that is told is exact. Up to
`LOOKED_AT` vectors these are all lists, and nothing is missed; with more, what lies in the others is: docs/index.md says how much.

Files are mapped into memory, not read: processes of one machine share them, and pages that no search needs stay on disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

faiss.omp_set_num_threads(1)  # its own OpenMP pool beside ours oversubscribes a small machine

EXACT_LIMIT = 200_000  # vectors up to which every search looks at all: some 20 ms
LOOKED_AT = 1_000_000  # vectors that a search through lists looks at: some 50 ms. docs/index.md has the table that this was chosen from
SAMPLE = 64  # vectors per list that the centres are learnt from
GROWTH = 1.5  # lists are learnt anew when there should be so many times more of them, which is at 2.25 times as many vectors
CHUNK = 16_384  # vectors that are handled at once
SPARE = 100  # more candidates than asked for are measured again
HALF_PRECISION = 1e-3  # cosines from half-precision vectors are off by less

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
NO_IDS: Ids = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Match:
    """One vector found: its id and the cosine to the query."""

    id: int
    cosine: float


class Layer:
    """Vectors (N, D) under N different ids; immutable, so that any number of threads may search it."""

    def __init__(self, exact: Any, lists: Any = None) -> None:
        """Wrap FAISS's indexes: see `empty`, `read` and `joined`."""
        self._exact, self._lists = exact, lists

    @classmethod
    def empty(cls, dimension: int) -> Layer:
        """Return a layer without vectors."""
        return cls(_exact(dimension))

    @classmethod
    def read(cls, exact: Path, lists: Path | None) -> Layer:
        """Map a layer's files into memory.

        Raises:
            ValueError: they are not such files.
        """
        try:
            return cls(*(None if path is None else faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC) for path in (exact, lists)))
        except RuntimeError as error:
            raise ValueError(f"{exact.name} is no index: {str(error).splitlines()[0]}") from error

    def write(self, exact: Path, lists: Path | None) -> None:
        """Write the layer's files; `lists` is given where `has_lists`."""
        try:
            faiss.write_index(self._exact, str(exact))
            if lists is not None:
                faiss.write_index(self._lists, str(lists))
        except RuntimeError as error:
            raise OSError(f"cannot write {exact.name}: {str(error).splitlines()[0]}") from error

    def __len__(self) -> int:
        return int(self._exact.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._exact.d)

    @property
    def has_lists(self) -> bool:
        """Whether searches go through inverted lists."""
        return self._lists is not None

    @cached_property
    def ids(self) -> Ids:
        """The (N,) ids, sorted."""
        return np.sort(faiss.vector_to_array(self._exact.id_map)) if len(self) else NO_IDS

    def held(self, ids: Ids) -> Ids:
        """Return those of some ids that are in here."""
        if not len(self):
            return NO_IDS
        places = np.minimum(np.searchsorted(self.ids, ids), len(self) - 1)
        held: Ids = ids[self.ids[places] == ids]
        return held

    def vector(self, ident: int) -> Vectors | None:
        """Return the (D,) vector of an id, None if it is not here."""
        try:
            return np.asarray(self._exact.reconstruct(int(ident)), np.float32)
        except RuntimeError:  # what FAISS raises for an id that it does not hold
            return None

    def vectors(self, ids: Ids) -> Vectors:
        """Return the (N, D) vectors of ids that are all held here."""
        if not len(ids):
            return np.zeros((0, self.dimension), np.float32)
        return np.asarray(self._exact.reconstruct_batch(np.ascontiguousarray(ids)), np.float32)

    def chunks(self) -> Iterator[tuple[Ids, Vectors]]:
        """Yield ids (C,) and vectors (C, D) of all, a bounded number at a time, in the order in which they were added; views."""
        ids = faiss.vector_to_array(self._exact.id_map)
        rows = _rows(self._exact)
        for start in range(0, len(ids), CHUNK):
            yield ids[start : start + CHUNK], rows[start : start + CHUNK]

    # ---- searching ----------------------------------------------------------------------------------------------------------

    def nearest(self, queries: Vectors, k: int, hidden: Ids) -> list[list[Match]]:
        """Return for each of (Q, D) queries the at most `k` most alike vectors whose ids are not `hidden`, best first; ties by id."""
        if not len(self) or k < 1:
            return [[] for _ in queries]
        if self._lists is None:
            cosines, ids = self._exact.search(queries, min(k, len(self)), params=_without(hidden))
            return [_ordered(*pair) for pair in zip(cosines, ids, strict=True)]
        _, ids = self._lists.search(queries, min(k + SPARE, len(self)), params=_without(hidden, lists=self._lists))
        return [self._measured(query, found)[:k] for query, found in zip(queries, ids, strict=True)]

    def alike(self, queries: Vectors, cosine: float, hidden: Ids) -> list[list[Match]]:
        """Return for each of (Q, D) queries all vectors of at least this cosine whose ids are not `hidden`, best first; ties by id.

        With more than `LOOKED_AT` vectors: all of those in the lists that are looked into.
        """
        if not len(self):
            return [[] for _ in queries]
        if self._lists is None:
            # FAISS keeps what is strictly above the radius
            limits, cosines, ids = self._exact.range_search(queries, float(np.nextafter(np.float32(cosine), np.float32(-2))), params=_without(hidden))
            return [_ordered(cosines[a:b], ids[a:b]) for a, b in _between(limits)]
        limits, _, ids = self._lists.range_search(queries, cosine - HALF_PRECISION, params=_without(hidden, lists=self._lists))
        found = (self._measured(query, ids[a:b]) for query, (a, b) in zip(queries, _between(limits), strict=True))
        return [[match for match in matches if match.cosine >= cosine] for matches in found]

    def _measured(self, query: Vectors, ids: Ids) -> list[Match]:
        """Return candidates with the cosines of their full vectors."""
        ids = ids[ids >= 0]
        return _ordered(self.vectors(ids) @ query, ids)

    # ---- making -------------------------------------------------------------------------------------------------------------

    def with_changes(self, added: Iterable[tuple[Ids, Vectors]], removed: Ids) -> Layer:
        """Return a copy, searched exactly, without some ids and with vectors added; an id that is added again is replaced."""
        exact, added = _exact(self.dimension), iter(added)
        if len(self):
            added = list(added)
            gone = np.concatenate([removed, *(ids for ids, _ in added)])
            exact = faiss.clone_index(self._exact)
            exact.remove_ids(faiss.IDSelectorBatch(np.unique(gone)))
        for ids, vectors in added:
            exact.add_with_ids(vectors, ids)
        return Layer(exact)

    def joined(self, later: Layer, hidden: Ids, *, exact_limit: int, own_lists: Path | None) -> Layer:
        """Return this layer without the `hidden` ids and with those of a later one, with lists if it is above the limit.

        Args:
            later: what came since; holds no id that is here and not hidden.
            hidden: ids of this layer that have gone.
            exact_limit: up to so many vectors there are no lists.
            own_lists: the file of this layer's lists, to go on from them; None: lists are learnt anew.
        """
        exact = later._exact
        if len(self):
            exact = _exact(self.dimension)
            for ids, vectors in self.chunks():
                kept = ~np.isin(ids, hidden)
                exact.add_with_ids(vectors[kept], ids[kept])
            for ids, vectors in later.chunks():
                exact.add_with_ids(vectors, ids)
        whole = Layer(exact)
        if len(whole) <= exact_limit:
            return whole
        if own_lists is None or self._lists is None or _lists_for(len(whole)) > GROWTH * self._lists.nlist:
            return Layer(exact, _filled(_learnt(whole), whole))
        lists = faiss.read_index(str(own_lists))  # a mapped one cannot grow
        if len(hidden):
            lists.remove_ids(faiss.IDSelectorBatch(hidden))
        return Layer(exact, _filled(lists, later))

    # ---- checking -----------------------------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Return what is wrong between the lists and the full vectors, in sentences; nothing where there are no lists."""
        if self._lists is None:
            return []
        sizes = [self._lists.invlists.list_size(number) for number in range(self._lists.nlist)]
        listed = [faiss.rev_swig_ptr(self._lists.invlists.get_ids(n), size) for n, size in enumerate(sizes) if size]
        if not np.array_equal(np.sort(np.concatenate(listed)), self.ids):
            return ["the inverted lists do not hold the ids that the full vectors have"]
        ids, vectors = next(self.chunks())
        sample = slice(None, None, max(1, len(ids) // 256))
        cosines, _ = self._lists.search(np.ascontiguousarray(vectors[sample]), 1, params=_without(NO_IDS, lists=self._lists))
        lost = ids[sample][cosines[:, 0] < 1 - HALF_PRECISION]
        return [f"the inverted lists do not find {len(lost)} vectors by themselves: {lost[:5].tolist()}"] if len(lost) else []


def _exact(dimension: int) -> Any:
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))


def _rows(exact: Any) -> Vectors:
    """Return the (N, D) vectors of an exact index; a view."""
    flat: Any = faiss.downcast_index(exact.index)
    if not exact.ntotal:
        return np.zeros((0, exact.d), np.float32)
    rows: Vectors = faiss.rev_swig_ptr(flat.get_xb(), exact.ntotal * exact.d).reshape(exact.ntotal, exact.d)
    return rows


def _without(hidden: Ids, *, lists: Any = None) -> Any:
    """Return FAISS's parameters of a search that passes over some ids, and of how many lists it looks into."""
    selector = {"sel": faiss.IDSelectorNot(faiss.IDSelectorBatch(hidden))} if len(hidden) else {}
    kinds: Any = faiss
    if lists is not None:
        return kinds.SearchParametersIVF(nprobe=math.ceil(lists.nlist * min(1.0, LOOKED_AT / lists.ntotal)), **selector)
    return kinds.SearchParameters(**selector) if selector else None


def _lists_for(count: int) -> int:
    return max(1, round(math.sqrt(count)))


def _learnt(layer: Layer) -> Any:
    """Return empty lists round centres that were learnt from an even sample of bounded size."""
    number = _lists_for(len(layer))
    lists: Any = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(layer.dimension), layer.dimension, number, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    lists.cp.spherical, lists.cp.max_points_per_centroid = True, SAMPLE
    # The one place where a GPU serves: docs/decisions/0008. Not run so far for want of one.
    gpus = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(layer.dimension)) if faiss.get_num_gpus() else None
    lists.clustering_index = gpus  # FAISS does not own it: the name keeps it alive
    rows = _rows(layer._exact)
    places = np.sort(np.random.default_rng(0).permutation(len(layer))[: number * SAMPLE])
    lists.train(rows[places])
    lists.clustering_index = None
    return lists


def _filled(lists: Any, layer: Layer) -> Any:
    for ids, vectors in layer.chunks():
        lists.add_with_ids(vectors, ids)
    return lists


def _between(limits: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    return zip(limits[:-1].astype(int), limits[1:].astype(int), strict=True)


def _ordered(cosines: Vectors, ids: Ids) -> list[Match]:
    found = [Match(int(i), float(c)) for c, i in zip(cosines, ids, strict=True) if i >= 0]
    return sorted(found, key=lambda match: (-match.cosine, match.id))
