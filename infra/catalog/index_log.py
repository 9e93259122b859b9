"""The index log: what happened to the vectors of one embedder, as a vector index that lies elsewhere follows it.

Entries are committed in the order of their numbers, since publishing is serialised. A position is an entry's number and when it was
written: a position of another library's log, or of what came after the state that a backup was restored to, is known for what it is.
`model` is the embedder's sha256 everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from infra.catalog.connection import Connection

Position = tuple[int, str]
START: Position = (0, "")
AT_ONCE = 2_000  # vectors that are fetched together


@dataclass(frozen=True, slots=True)
class IndexChanges:
    """What an index at some position lacks. What was added and removed since is `removed` alone.

    Attributes:
        stands_at: the position of an index that has applied this.
        whole: `added` is everything: the position asked for was the start, or is none of this log.
        added: (id, float32 bytes) pairs; they may be read once, within the transaction.
        removed: ids.
    """

    stands_at: Position
    whole: bool
    added: Iterable[tuple[int, bytes]]
    removed: Sequence[int]


def index_changes(connection: Connection, model: str, since: Position) -> IndexChanges:
    """Return what an index that stands at `since` lacks."""
    end = index_end(connection, model)
    if since == START or not _known(connection, model, since):
        return IndexChanges(end, True, index_vectors(connection, model), [])
    touched = connection.execute(f"SELECT DISTINCT l.vector_id, l.action {_LOG} AND l.id > %s ORDER BY 1", (model, since[0])).fetchall()
    added = index_vectors(connection, model, only=[ident for ident, action in touched if action == "add"])
    return IndexChanges(end, False, added, [ident for ident, action in touched if action == "remove"])


def index_end(connection: Connection, model: str) -> Position:
    """Return the position of the log's last entry."""
    row = connection.execute(f"SELECT l.id, {_MARK} {_LOG} ORDER BY l.id DESC LIMIT 1", (model,)).fetchone()
    return START if row is None else (int(row[0]), str(row[1]))


def index_waiting(connection: Connection, model: str, since: Position) -> int | None:
    """Return how many entries there are after a position, None for one of another log."""
    if since != START and not _known(connection, model, since):
        return None
    row = connection.execute(f"SELECT count(*) {_LOG} AND l.id > %s", (model, since[0])).fetchone()
    return int(row[0]) if row is not None else 0


def index_count(connection: Connection, model: str) -> int:
    """Return how many vectors there are."""
    row = connection.execute(f"SELECT count(*) {_VECTORS}", (model,)).fetchone()
    return int(row[0]) if row is not None else 0


def index_ids(connection: Connection, model: str) -> list[int]:
    """Return the ids of all vectors, sorted."""
    return [row[0] for row in connection.execute(f"SELECT e.id {_VECTORS} ORDER BY e.id", (model,))]


def index_vectors(connection: Connection, model: str, only: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (id, float32 bytes) of all vectors, or of some that are there, by id; a bounded number is in memory."""
    with connection.cursor(name="index_vectors") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(
            f"SELECT e.id, e.vector {_VECTORS} AND (%s::bigint[] IS NULL OR e.id = ANY(%s)) ORDER BY e.id",
            (model, *2 * (None if only is None else list(only),)),
        )
        yield from cursor


_LOG = "FROM index_log l JOIN model m ON m.id = l.model_id WHERE m.role = 'embedder' AND m.sha256 = %s"
_VECTORS = "FROM track_embedding e JOIN model m ON m.id = e.model_id WHERE m.role = 'embedder' AND m.sha256 = %s"
_MARK = "extract(epoch FROM l.at)::text"


def _known(connection: Connection, model: str, position: Position) -> bool:
    return connection.execute(f"SELECT 1 {_LOG} AND l.id = %s AND {_MARK} = %s", (model, *position)).fetchone() is not None
