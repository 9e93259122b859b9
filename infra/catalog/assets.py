"""Assets and where they lie: collections, locations, states, quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from infra.catalog.connection import Connection

State = Literal["new", "done", "failed", "quarantined"]
MOST_ATTEMPTS = 3  # runs in which a failed asset is tried again by itself; then `retry` must ask for it


@dataclass(frozen=True, slots=True)
class Location:
    """Where an asset was seen, and what became of it; `sha256` is None until it was hashed."""

    uri: str
    name: str
    size: int
    version: str
    sha256: str | None
    state: State | None
    reason: str | None
    retryable: bool
    plan_digest: str | None  # of what was last asked for: another plan means work to do
    attempts: int = 0  # runs in a row that failed
    analysis_key: str | None = None  # of the artifact that holds what was last published

    def verdict(self, plan_digest: str) -> Literal["failed", "quarantined"] | None:
        """Return how it ended where it is not to be tried again by itself, else None. A verdict holds for its settings and models alone."""
        if self.state == "quarantined":
            return "quarantined" if self.plan_digest == plan_digest else None
        for_good = self.state == "failed" and self.plan_digest == plan_digest and not (self.retryable and self.attempts < MOST_ATTEMPTS)
        return "failed" if for_good else None


def ensure_collection(connection: Connection, name: str) -> int:
    """Return the row id of a collection, which is made where it is missing."""
    connection.execute("INSERT INTO collection (name) VALUES (%s) ON CONFLICT (name) DO NOTHING", (name,))
    row = connection.execute("SELECT id FROM collection WHERE name = %s", (name,)).fetchone()
    assert row is not None  # inserted above
    return int(row[0])


def locations(connection: Connection, uris: Iterable[str]) -> dict[str, Location]:
    """Return what is known of places, by uri; unknown ones are left out."""
    rows = connection.execute(
        """SELECT l.uri, l.name, l.size, l.version, a.sha256, a.state, a.reason, coalesce(a.retryable, false), a.plan_digest,
                  coalesce(a.attempts, 0), a.analysis_key
           FROM location l LEFT JOIN asset a ON a.id = l.asset_id WHERE l.uri = ANY(%s)""",
        (list(uris),),
    )
    return {row[0]: Location(*row) for row in rows}


def see_location(connection: Connection, *, collection: str, uri: str, name: str, size: int, version: str, sha256: str) -> None:
    """Note that a file with these bytes lies at a place; the asset is made where it is new.

    An asset bears the first name, in the order of the alphabet, of the places where it lies: whatever order they are seen in.
    """
    collection_id = ensure_collection(connection, collection)
    connection.execute(
        "INSERT INTO asset (sha256, name, size, collection_id) VALUES (%s, %s, %s, %s) ON CONFLICT (sha256) DO NOTHING",
        (sha256, name, size, collection_id),
    )
    before = connection.execute("SELECT asset_id FROM location WHERE uri = %s FOR UPDATE", (uri,)).fetchone()
    connection.execute(
        """INSERT INTO location (collection_id, asset_id, uri, name, size, version)
           SELECT %s, a.id, %s, %s, %s, %s FROM asset a WHERE a.sha256 = %s
           ON CONFLICT (uri) DO UPDATE SET collection_id = excluded.collection_id, asset_id = excluded.asset_id, name = excluded.name,
               size = excluded.size, version = excluded.version, last_seen = now(), gone_at = NULL""",
        (collection_id, uri, name, size, version, sha256),
    )
    row = connection.execute("SELECT id FROM asset WHERE sha256 = %s", (sha256,)).fetchone()
    for asset_id in {found[0] for found in (row, before) if found is not None and found[0] is not None}:
        _take_first_name(connection, asset_id)


def _take_first_name(connection: Connection, asset_id: int) -> None:
    connection.execute(
        """UPDATE asset a SET name = l.name, collection_id = l.collection_id
           FROM (SELECT name, collection_id FROM location WHERE asset_id = %(id)s AND gone_at IS NULL ORDER BY name, uri LIMIT 1) l
           WHERE a.id = %(id)s AND (a.name, a.collection_id) IS DISTINCT FROM (l.name, l.collection_id)""",
        {"id": asset_id},
    )


def see_unchanged(connection: Connection, uris: Iterable[str]) -> None:
    """Note that files are still where and as they were."""
    connection.execute("UPDATE location SET last_seen = now(), gone_at = NULL WHERE uri = ANY(%s)", (list(uris),))


def miss_locations(connection: Connection, prefix: str, seen: Iterable[str]) -> int:
    """Mark what lies below a uri prefix and was not seen as gone; nothing is deleted. Return how many."""
    return connection.execute(
        "UPDATE location SET gone_at = now() WHERE starts_with(uri, %s) AND gone_at IS NULL AND NOT uri = ANY(%s)", (prefix, list(seen))
    ).rowcount


def lose_location(connection: Connection, uri: str) -> None:
    """Mark one place as gone."""
    connection.execute("UPDATE location SET gone_at = now() WHERE uri = %s AND gone_at IS NULL", (uri,))


def set_state(
    connection: Connection, sha256: str, state: State, *, reason: str | None = None, retryable: bool = False, plan_digest: str | None = None
) -> None:
    """Say how the work on an asset ended; `publish` says done by itself.

    `plan_digest`: of what was asked for. A verdict holds for that alone, and attempts are counted under it.
    """
    connection.execute(
        """UPDATE asset SET state = %(state)s, reason = %(reason)s, retryable = %(retryable)s, plan_digest = coalesce(%(plan)s, plan_digest),
               attempts = CASE WHEN %(state)s <> 'failed' THEN 0 WHEN %(plan)s <> plan_digest THEN 1 ELSE attempts + 1 END
           WHERE sha256 = %(sha256)s""",
        {"state": state, "reason": reason, "retryable": retryable, "plan": plan_digest, "sha256": sha256},
    )


def quarantine(
    connection: Connection, *, uri: str, name: str, error: str, reason: str, sha256: str | None = None, plan_digest: str | None = None
) -> None:
    """Set a file aside that nothing can be made of; said again, it stays one entry. `plan_digest` as in `set_state`."""
    connection.execute(
        """INSERT INTO quarantine (uri, name, sha256, error, reason) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (uri) WHERE released_at IS NULL
           DO UPDATE SET name = excluded.name, sha256 = excluded.sha256, error = excluded.error, reason = excluded.reason""",
        (uri, name, sha256, error, reason),
    )
    if sha256 is not None:
        set_state(connection, sha256, "quarantined", reason=reason, plan_digest=plan_digest)


def release(connection: Connection, *, sha256: str | None = None, uri: str | None = None) -> int:
    """Let quarantined and failed assets be tried again: one, by hash or place, or all. Return how many."""
    connection.execute(
        """UPDATE quarantine SET released_at = now() WHERE released_at IS NULL
           AND (%(sha256)s::text IS NULL OR sha256 = %(sha256)s) AND (%(uri)s::text IS NULL OR uri = %(uri)s)""",
        {"sha256": sha256, "uri": uri},
    )
    return connection.execute(
        """UPDATE asset SET state = 'new', reason = NULL, retryable = false, attempts = 0 WHERE state IN ('failed', 'quarantined')
           AND (%(sha256)s::text IS NULL OR sha256 = %(sha256)s)
           AND (%(uri)s::text IS NULL OR id IN (SELECT asset_id FROM location WHERE uri = %(uri)s))""",
        {"sha256": sha256, "uri": uri},
    ).rowcount
