"""Runs and their stages: what was done when, how long it took, and what came of it.

A run holds a lock of the database while its process lives. One that is said to be running and holds none was killed: whoever begins a run
next ends it as lost. A lock that the database forgot in a restart is taken again within seconds; a run that was given up meanwhile says
itself how it ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from psycopg.types.json import Jsonb

from infra.catalog.connection import Catalog, Connection
from infra.catalog.locks import HELD_RUNS

ALIVE = f"run.id IN ({HELD_RUNS})"  # of a row of `run` that says that it is running


@contextlib.contextmanager
def running(catalog: Catalog, kind: str, arguments: Mapping[str, Any] | None = None) -> Iterator[int]:
    """Note that a run begins, and let everybody see in this block that it lives; give its id. How it ends is said with `end_run`.

    Raises:
        Unavailable: the database is out of reach.
    """
    with contextlib.ExitStack() as life:
        with catalog.transaction() as connection:
            _end_lost(connection)
            run_id = _insert(connection, kind, arguments)
            life.enter_context(catalog.alive(run_id))  # before anybody else sees the row
        yield run_id


def end_run(connection: Connection, run_id: int, state: Literal["done", "failed", "stopped"], summary: Mapping[str, Any] | None = None) -> None:
    """Note how a run ended."""
    connection.execute("UPDATE run SET ended_at = now(), state = %s, summary = %s WHERE id = %s", (state, Jsonb(dict(summary or {})), run_id))


def note_run(connection: Connection, kind: str, arguments: Mapping[str, Any] | None = None, *, summary: Mapping[str, Any]) -> None:
    """Note a run that has ended well, after the fact."""
    end_run(connection, _insert(connection, kind, arguments), "done", summary)


def _insert(connection: Connection, kind: str, arguments: Mapping[str, Any] | None) -> int:
    row = connection.execute("INSERT INTO run (kind, arguments) VALUES (%s, %s) RETURNING id", (kind, Jsonb(dict(arguments or {})))).fetchone()
    assert row is not None  # RETURNING
    return int(row[0])


def _end_lost(connection: Connection) -> None:
    """End the runs whose processes are gone. One that just ends by itself changes its row first and lets go of its lock then: it is left alone."""
    connection.execute(
        f"""UPDATE run SET ended_at = now(), state = 'lost'
            WHERE id IN (SELECT id FROM run WHERE state = 'running' AND NOT {ALIVE} FOR UPDATE SKIP LOCKED)"""  # noqa: S608 -- text of ours
    )


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
