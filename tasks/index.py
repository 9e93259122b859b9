"""The vector index of a library: opened as it stands, kept by those who publish, compared with the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asd_core.errors import ModelError, ModelMismatch
from infra.catalog import index_log
from tasks.plan import Plan, make_plan

if TYPE_CHECKING:
    from infra.catalog.connection import Connection
    from infra.vectors import VectorIndex
    from infra.wiring import Adapters

SAMPLE = 1_000  # vectors that a quick comparison looks at


@dataclass(frozen=True, slots=True)
class IndexState:
    """How an index stands to its library.

    `held` and `wanted`: vectors of the index after catching up, and of the library. `snapshot`: vectors of the newest snapshot, None where
    there is none that this library's log knows. `waiting`: entries of the log since.
    """

    held: int
    wanted: int
    snapshot: int | None
    waiting: int
    exact: bool

    @property
    def in_step(self) -> bool:
        """Whether the index holds as many vectors as the library."""
        return self.held == self.wanted


def open_index(adapters: Adapters, plan: Plan) -> VectorIndex:
    """Return the vector index as the library stands now.

    Raises:
        ModelMismatch: the embedder's manifest does not state the dimension of its vectors.
    """
    index = _index(adapters, plan)
    with adapters.catalog.reading() as connection:
        _catch_up(index, connection, plan)
    return index


def catch_up_index(adapters: Adapters, plan: Plan) -> None:
    """Write a snapshot of the index if so much was published since the last one that it is worth it; else nothing needs to be done.

    Whoever searches reads what was published from the log. Another process that writes a snapshot now writes this one too.
    """
    if plan.models["embedder"].manifest.output.dimension is None:
        return
    index = _index(adapters, plan)
    position, count = index.newest_snapshot()
    with adapters.catalog.reading() as connection:
        waiting = index_log.index_waiting(connection, plan.models["embedder"].sha256, position)
    if waiting is None or index.is_worth_a_snapshot(waiting, count):
        write_snapshot(adapters, plan, wait=False)


def write_snapshot(adapters: Adapters, plan: Plan, *, afresh: bool = False, wait: bool = True) -> tuple[bool, VectorIndex]:
    """Write a snapshot of the index as the library stands now (`afresh`: from the catalogue alone); say whether files were written."""
    index, model = _index(adapters, plan), plan.models["embedder"].sha256
    with adapters.catalog.reading() as connection:
        written = index.snapshot(lambda since: index_log.index_changes(connection, model, since), afresh=afresh, wait=wait)
    return written, index


def index_state(adapters: Adapters, plan: Plan) -> IndexState:
    """Return how the index stands to the library."""
    index, model = _index(adapters, plan), plan.models["embedder"].sha256
    position, count = index.newest_snapshot()
    with adapters.catalog.reading() as connection:
        waiting = index_log.index_waiting(connection, model, position)
        wanted = index_log.index_count(connection, model)
        held = _catch_up(index, connection, plan)
    known = waiting is not None and position != index_log.START
    return IndexState(held, wanted, count if known else None, waiting or 0, index.is_exact)


def snapshot_positions(adapters: Adapters) -> dict[str, int]:
    """Return by sha256 of the embedder at which entry of the log its newest snapshot stands; nothing where no embedder serves."""
    try:
        plan = make_plan(adapters.settings)
        return {plan.models["embedder"].sha256: _index(adapters, plan).newest_snapshot()[0][0]}
    except ModelError:
        return {}


def verify_index(adapters: Adapters, plan: Plan, *, quick: bool = False) -> tuple[list[str], int]:
    """Return in sentences what is wrong with the index, nothing if nothing is, and how many vectors were compared.

    Its files against their checksums, its ids against the catalogue's, and all vectors, or with `quick` a sample of them.
    """
    index, model = _index(adapters, plan), plan.models["embedder"].sha256
    faults = index.faults()
    with adapters.catalog.reading() as connection:
        _catch_up(index, connection, plan)
        ids = np.array(index_log.index_ids(connection, model), np.int64)
        some = np.random.default_rng(0).permutation(ids)[:SAMPLE] if quick else ids
        vectors = index_log.index_vectors(connection, model, only=sorted(some.tolist()) if quick else None)
        return [*faults, *index.differences(ids, vectors)], len(some)


def _index(adapters: Adapters, plan: Plan) -> VectorIndex:
    model = plan.models["embedder"]
    if model.manifest.output.dimension is None:
        raise ModelMismatch(f"the manifest of {model.name} does not state the dimension of its vectors")
    return adapters.vectors(model.sha256, model.manifest.output.dimension)


def _catch_up(index: VectorIndex, connection: Connection, plan: Plan) -> int:
    return index.catch_up(lambda since: index_log.index_changes(connection, plan.models["embedder"].sha256, since))
