"""Runs and their stages: what was done when, how long it took, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from psycopg.types.json import Jsonb

from infra.catalog.connection import Connection


def start_run(connection: Connection, kind: str, arguments: Mapping[str, Any] | None = None) -> int:
    """Note that a run begins; return its id."""
    row = connection.execute("INSERT INTO run (kind, arguments) VALUES (%s, %s) RETURNING id", (kind, Jsonb(dict(arguments or {})))).fetchone()
    assert row is not None  # RETURNING
    return int(row[0])


def end_run(connection: Connection, run_id: int, state: Literal["done", "failed", "stopped"], summary: Mapping[str, Any] | None = None) -> None:
    """Note how a run ended."""
    connection.execute("UPDATE run SET ended_at = now(), state = %s, summary = %s WHERE id = %s", (state, Jsonb(dict(summary or {})), run_id))


def has_run(connection: Connection, kind: str, arguments: Mapping[str, Any]) -> bool:
    """Say whether a run of this kind, whose arguments hold these, has ended well."""
    found = connection.execute("SELECT 1 FROM run WHERE kind = %s AND state = 'done' AND arguments @> %s LIMIT 1", (kind, Jsonb(dict(arguments))))
    return found.fetchone() is not None


def pace(connection: Connection, seconds: float) -> float:
    """Return how many assets were published a second of late: within so many seconds, or since the first of them."""
    row = connection.execute(
        "SELECT count(*), extract(epoch FROM now() - min(published_at)) FROM asset WHERE published_at > now() - make_interval(secs => %s)", (seconds,)
    ).fetchone()
    return float(row[0]) / max(float(row[1]), 1.0) if row is not None and row[0] else 0.0


def record_stage(
    connection: Connection,
    *,
    stage: str,
    key: str,
    outcome: Literal["made", "cached", "failed"],
    seconds: float,
    sha256: str | None = None,
    run_id: int | None = None,
    span: str = "",
    size: int | None = None,
    attempt: int = 1,
    error: str | None = None,
) -> None:
    """Note one stage: made anew, found in the cache, or failed. `seconds` is wall time, `size` the artifact's bytes."""
    connection.execute(
        """INSERT INTO stage_run (run_id, asset_id, stage, span, key, outcome, started_at, seconds, bytes, attempt, error)
           VALUES (%s, (SELECT id FROM asset WHERE sha256 = %s), %s, %s, %s, %s, now() - make_interval(secs => %s), %s, %s, %s, %s)""",
        (run_id, sha256, stage, span, key, outcome, seconds, seconds, size, attempt, error),
    )


def note_search(connection: Connection, kind: str, *, who: str, parameters: Mapping[str, Any], hits: int) -> None:
    """Note that somebody looked for a face or a person: thresholds and filters, never the photo."""
    connection.execute("INSERT INTO search_audit (who, kind, parameters, hits) VALUES (%s, %s, %s, %s)", (who, kind, Jsonb(dict(parameters)), hits))
