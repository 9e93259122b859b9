"""What a library's state and work come to, in numbers: for metrics and dashboards. No names, of people or files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.catalog.connection import Connection
from infra.catalog.locks import HELD_NAMES
from infra.catalog.runs import ALIVE

STATES = ("new", "done", "failed", "quarantined")


@dataclass(frozen=True, slots=True)
class StageFigures:
    """How often a stage ended so, and the wall time that it took altogether."""

    stage: str
    outcome: str
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """A library in numbers.

    Attributes:
        assets: by state; every state is there.
        media_seconds: of all that is published.
        media_seconds_last_hour: of what was published in the last hour.
        oldest_unfinished_seconds: since the longest waiting asset, new or to be tried again, was first seen; 0 where none waits.
        stages: by stage and outcome, since the library was made.
        quarantined: files set aside now, by the class of the error.
        index_lag: entries of the index log behind the index's position, by the embedder's sha256; models without a position count from 0.
        runs: at work now, by kind.
        last_done: when the last run of a kind ended well, in seconds since 1970.
        locks: names that somebody works under now (`Catalog.alone`): assets in work on all machines.
        database_bytes: size of the database on disk.
        schema: version of the last migration.
    """

    assets: dict[str, int]
    media_seconds: float
    media_seconds_last_hour: float
    oldest_unfinished_seconds: float
    stages: tuple[StageFigures, ...]
    quarantined: dict[str, int]
    index_lag: dict[str, int]
    runs: dict[str, int]
    last_done: dict[str, float]
    locks: int
    database_bytes: int
    schema: int


def read_figures(connection: Connection, index_positions: Mapping[str, int] | None = None) -> Figures:
    """Return the figures of one moment; `index_positions`: sha256 of an embedder -> entry of the index log where its index stands."""
    assets, media, of_late = _assets(connection)
    stages = connection.execute("SELECT stage, outcome, count(*), sum(seconds) FROM stage_run GROUP BY 1, 2 ORDER BY 1, 2")
    quarantined = connection.execute("SELECT error, count(*) FROM quarantine WHERE released_at IS NULL GROUP BY 1 ORDER BY 1")
    runs = connection.execute(
        f"""SELECT kind, count(*) FILTER (WHERE state = 'running' AND {ALIVE}), extract(epoch FROM max(ended_at) FILTER (WHERE state = 'done'))
            FROM run GROUP BY 1 ORDER BY 1"""  # noqa: S608 -- text of ours
    ).fetchall()
    return Figures(
        assets=assets,
        media_seconds=media,
        media_seconds_last_hour=of_late,
        oldest_unfinished_seconds=_oldest(connection),
        stages=tuple(StageFigures(stage, outcome, count, float(seconds)) for stage, outcome, count, seconds in stages),
        quarantined=dict(quarantined.fetchall()),
        index_lag=_index_lag(connection, index_positions or {}),
        runs={kind: running for kind, running, _ in runs},
        last_done={kind: float(ended) for kind, _, ended in runs if ended is not None},
        locks=int(_one(connection, f"SELECT count(*) FROM ({HELD_NAMES}) held")),  # noqa: S608 -- text of ours
        database_bytes=int(_one(connection, "SELECT pg_database_size(current_database())")),
        schema=int(_one(connection, "SELECT max(version) FROM schema_version")),
    )


def _assets(connection: Connection) -> tuple[dict[str, int], float, float]:
    """Return assets by state, seconds published, and seconds published within an hour."""
    rows = connection.execute(
        """SELECT state, count(*), coalesce(sum(duration), 0), coalesce(sum(duration) FILTER (WHERE published_at > now() - interval '1 hour'), 0)
           FROM asset GROUP BY 1"""
    ).fetchall()
    done = next((row for row in rows if row[0] == "done"), ("done", 0, 0.0, 0.0))
    return dict.fromkeys(STATES, 0) | {state: count for state, count, *_ in rows}, float(done[2]), float(done[3])


def _oldest(connection: Connection) -> float:
    query = """SELECT coalesce(extract(epoch FROM now() - min(a.first_seen)), 0) FROM asset a
               WHERE (a.state = 'new' OR (a.state = 'failed' AND a.retryable))
                 AND EXISTS (SELECT 1 FROM location l WHERE l.asset_id = a.id AND l.gone_at IS NULL)"""
    return float(_one(connection, query))


def _index_lag(connection: Connection, positions: Mapping[str, int]) -> dict[str, int]:
    rows = connection.execute(
        """SELECT m.sha256, (SELECT count(*) FROM index_log g WHERE g.model_id = m.id AND g.id > coalesce(p.stands_at, 0))
           FROM model m LEFT JOIN unnest(%s::text[], %s::bigint[]) AS p(sha256, stands_at) USING (sha256)
           WHERE m.role = 'embedder' ORDER BY 1""",
        (list(positions), list(positions.values())),
    )
    return dict(rows.fetchall())


def _one(connection: Connection, query: str) -> float:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None  # an aggregate
    return float(row[0] or 0)
