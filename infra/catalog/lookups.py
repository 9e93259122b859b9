"""Lookups: what the doors ask of the library. Reading only; flat records, sorted by a stated rule.

Names are settled here: an asset by its name, a unique end of it, or the beginning of its hash; a person by id, the beginning of an id, or
a unique name. What is ambiguous is refused with the candidates.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from psycopg.rows import class_row

from asd_core.errors import Ambiguous, NotFound
from infra.catalog.connection import Connection
from infra.catalog.rows import AirtimeRow, AppearanceRow, AssetPersonRow, AssetRow, PersonRow, QuarantineRow, StageRow, TurnRow, VectorRow

T = TypeVar("T")
CANDIDATES = 5  # that a refusal lists
HASH_BEGINNING = 4  # digits of a hash that may stand for an asset


def _rows(connection: Connection, kind: type[T], sql: str, parameters: Any = None) -> list[T]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(sql, parameters).fetchall()


# ---- assets ------------------------------------------------------------------------------------------------------------------

_ASSETS = """
SELECT a.id, a.sha256, a.name, c.name AS collection, a.size, a.state, a.reason, a.retryable, a.attempts, a.duration, a.width, a.height,
       a.frame_rate, a.video_start, a.start_timecode, a.audio_track, a.models, a.settings, a.analysis_key, a.plan_digest,
       (SELECT l.uri FROM location l WHERE l.asset_id = a.id AND l.gone_at IS NULL ORDER BY l.name, l.uri LIMIT 1) AS uri,
       (SELECT count(DISTINCT k.asset_person_id) FROM track k WHERE k.asset_id = a.id AND NOT k.still) AS people,  -- no still picture
       (SELECT count(*) FROM turn t WHERE t.asset_id = a.id) AS turns,
       coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(turn_cover.cover) r), 0)::float8 AS talk_time,
       a.first_seen, a.published_at
FROM asset a LEFT JOIN collection c ON c.id = a.collection_id
LEFT JOIN (SELECT asset_id, range_agg(numrange(start::numeric, "end"::numeric)) AS cover FROM turn GROUP BY asset_id) turn_cover
       ON turn_cover.asset_id = a.id
"""


def list_assets(connection: Connection, *, collection: str | None = None, state: str | None = None) -> list[AssetRow]:
    """Return all assets, by name."""
    return _rows(
        connection, AssetRow,
        _ASSETS + " WHERE (%(c)s::text IS NULL OR c.name = %(c)s) AND (%(s)s::text IS NULL OR a.state = %(s)s) ORDER BY a.name, a.sha256",
        {"c": collection, "s": state},
    )  # fmt: skip


def find_asset(connection: Connection, asset: str) -> AssetRow:
    """Return the asset that is meant: by its name (of any of its places), a unique end of a name, or the beginning of its hash.

    Raises:
        NotFound: none.
        Ambiguous: several; the message lists them.
    """
    names = "SELECT sha256, name FROM asset UNION SELECT a.sha256, l.name FROM location l JOIN asset a ON a.id = l.asset_id"
    tests = ["n.name = %(x)s", "right(n.name, length(%(x)s) + 1) = '/' || %(x)s", "right(n.name, length(%(x)s)) = %(x)s"]
    if len(asset) >= HASH_BEGINNING:
        tests.append("starts_with(n.sha256, lower(%(x)s))")
    if not asset.strip():
        raise NotFound("which asset? Give a name, a unique end of one, or the beginning of a hash")
    for test in tests:
        found = connection.execute(f"SELECT DISTINCT n.sha256, n.name FROM ({names}) n WHERE {test} ORDER BY n.name", {"x": asset}).fetchall()  # noqa: S608
        if len({sha256 for sha256, _ in found}) > 1:
            raise Ambiguous(f"{asset!r} may be {_candidates(f'{name} ({sha256[:8]})' for sha256, name in found)}")
        if found:
            return _rows(connection, AssetRow, _ASSETS + " WHERE a.sha256 = %s", (found[0][0],))[0]
    raise NotFound(f"no asset {asset!r} in the library; `rollcall assets` lists them")


def _candidates(texts: Iterable[str]) -> str:
    every = list(texts)
    more = f" or {len(every) - CANDIDATES} more" if len(every) > CANDIDATES else ""
    return ", ".join(every[:CANDIDATES]) + more


def asset_turns(connection: Connection, sha256: str) -> list[TurnRow]:
    """Return the turns of an asset, by time."""
    return _rows(connection, TurnRow, _TURNS + " WHERE a.sha256 = %s ORDER BY t.number", (sha256,))


_TURNS = """
SELECT a.name AS asset, a.sha256 AS asset_sha256, t.start, t."end", ap.people_id, t.voice_id, p.id AS person_id, p.name AS person,
       t.on_screen, t.confidence, t.audio_track, t.parts
FROM turn t JOIN asset a ON a.id = t.asset_id
LEFT JOIN asset_person ap ON ap.id = t.asset_person_id LEFT JOIN person p ON p.id = ap.person_id
"""

_ASSET_PEOPLE = """
SELECT a.name AS asset, a.sha256 AS asset_sha256, ap.people_id, p.id AS person_id, p.name AS person, ap.identifiable, ap.talk_time, ap.screen_time,
       (SELECT count(*) FROM turn t WHERE t.asset_person_id = ap.id) AS turns, ap.anchor_time, ap.anchor_box,
       (SELECT k.track_id FROM track k WHERE k.asset_person_id = ap.id ORDER BY k.best_quality DESC NULLS LAST, k.number LIMIT 1) AS track_id
FROM asset_person ap JOIN asset a ON a.id = ap.asset_id LEFT JOIN person p ON p.id = ap.person_id
"""


def asset_people(connection: Connection, sha256: str) -> list[AssetPersonRow]:
    """Return the people of an asset, p1 first."""
    return _rows(connection, AssetPersonRow, _ASSET_PEOPLE + " WHERE a.sha256 = %s ORDER BY length(ap.people_id), ap.people_id", (sha256,))


def asset_names(connection: Connection, sha256: str) -> dict[str, tuple[str | None, str | None]]:
    """Return people id -> (person id, name) of an asset: what the document adds to an analysis."""
    return {row.people_id: (row.person_id, row.person) for row in asset_people(connection, sha256)}


# ---- persons -----------------------------------------------------------------------------------------------------------------

_PERSONS = """
SELECT p.id, p.name, coalesce((SELECT array_agg(s.alias ORDER BY s.alias) FROM person_alias s WHERE s.person_id = p.id), '{}') AS aliases,
       count(DISTINCT ap.asset_id) AS assets,
       coalesce(sum((SELECT count(*) FROM turn t WHERE t.asset_person_id = ap.id)), 0)::bigint AS turns,
       coalesce(sum(ap.talk_time), 0)::float8 AS talk_time, coalesce(sum(ap.screen_time), 0)::float8 AS screen_time,
       p.anchor_asset, p.anchor_time, p.anchor_box
FROM person p LEFT JOIN asset_person ap ON ap.person_id = p.id
"""


def list_persons(connection: Connection, *, named: bool | None = None) -> list[PersonRow]:
    """Return the persons of the library: those who speak most first."""
    return _rows(
        connection, PersonRow,
        _PERSONS + """ WHERE p.active AND NOT p.hidden AND (%(named)s::bool IS NULL OR (p.name IS NOT NULL) = %(named)s)
                       GROUP BY p.id ORDER BY talk_time DESC, screen_time DESC, p.id""",
        {"named": named},
    )  # fmt: skip


def find_person(connection: Connection, person: str) -> PersonRow:
    """Return the person who is meant: by id or alias, the beginning of one, or a name (case does not matter).

    Raises:
        NotFound: none.
        Ambiguous: several; the message lists them.
    """
    ids = "SELECT id AS word, id FROM person WHERE active UNION SELECT alias, person_id FROM person_alias"
    tests = [
        f"SELECT DISTINCT id FROM ({ids}) i WHERE lower(word) = lower(%(x)s)",  # noqa: S608 -- constants
        "SELECT id FROM person WHERE active AND lower(name) = lower(%(x)s)",
        f"SELECT DISTINCT id FROM ({ids}) i WHERE starts_with(lower(word), lower(%(x)s))",  # noqa: S608 -- constants
    ]
    if not person.strip():
        raise NotFound("which person? Give an id, the beginning of one, or a name")
    for test in tests:
        found = [row[0] for row in connection.execute(test, {"x": person.strip()})]
        if found:
            rows = _rows(connection, PersonRow, _PERSONS + " WHERE p.id = ANY(%s) GROUP BY p.id ORDER BY p.id", (found,))
            if len(rows) > 1:
                raise Ambiguous(f"{person!r} may be {_candidates(row.id + ' (' + (row.name or 'no name') + ')' for row in rows)}")
            return rows[0]
    raise NotFound(f"no person {person!r} in the library; `rollcall people` lists them")


def person_appearances(connection: Connection, person_id: str) -> list[AppearanceRow]:
    """Return when a person is seen, by asset and time."""
    return _rows(
        connection, AppearanceRow,
        """SELECT a.name AS asset, a.sha256 AS asset_sha256, ap.people_id, x.start, x."end"
           FROM appearance x JOIN asset_person ap ON ap.id = x.asset_person_id JOIN asset a ON a.id = ap.asset_id
           WHERE ap.person_id = %s ORDER BY a.name, a.sha256, x.start""",
        (person_id,),
    )  # fmt: skip


def person_turns(connection: Connection, person_id: str) -> list[TurnRow]:
    """Return when a person speaks, by asset and time."""
    return _rows(connection, TurnRow, _TURNS + " WHERE ap.person_id = %s ORDER BY a.name, a.sha256, t.number", (person_id,))


def person_in_assets(connection: Connection, person_id: str) -> list[AssetPersonRow]:
    """Return the people of assets who are this person, by asset."""
    return _rows(connection, AssetPersonRow, _ASSET_PEOPLE + " WHERE ap.person_id = %s ORDER BY a.name, a.sha256, ap.people_id", (person_id,))


def person_thumbnail(connection: Connection, person_id: str) -> bytes | None:
    """Return the best picture of a person."""
    row = connection.execute(
        """SELECT k.thumbnail FROM track k JOIN asset_person ap ON ap.id = k.asset_person_id JOIN asset a ON a.id = k.asset_id
           WHERE ap.person_id = %s AND k.thumbnail IS NOT NULL ORDER BY k.best_quality DESC, a.sha256, k.number LIMIT 1""",
        (person_id,),
    ).fetchone()
    return None if row is None else row[0]


def airtime(
    connection: Connection, *, collection: str | None = None, since: datetime.date | None = None, until: datetime.date | None = None
) -> list[AirtimeRow]:
    """Return how long every person spoke and was seen, between two days (inclusive): those who spoke longest first."""
    return _rows(
        connection, AirtimeRow,
        """SELECT person_id, person, sum(assets)::bigint AS assets, sum(turns)::bigint AS turns, sum(talk_time)::float8 AS talk_time,
                  sum(screen_time)::float8 AS screen_time
           FROM airtime_by_person_day
           WHERE (%(c)s::text IS NULL OR collection = %(c)s) AND (%(since)s::date IS NULL OR day >= %(since)s)
             AND (%(until)s::date IS NULL OR day <= %(until)s)
           GROUP BY person_id, person ORDER BY talk_time DESC, screen_time DESC, person_id""",
        {"c": collection, "since": since, "until": until},
    )  # fmt: skip


# ---- search ------------------------------------------------------------------------------------------------------------------


_VECTORS = """
SELECT e.id AS vector_id, a.name AS asset, a.sha256 AS asset_sha256, k.track_id, k.start, k."end", k.still, ap.people_id,
       p.id AS person_id, p.name AS person, k.best_time, k.best_box, k.best_quality, e.vector, e.vectors,
       coalesce((SELECT sum((part ->> 'end')::float8 - (part ->> 'start')::float8)
                 FROM turn t, jsonb_array_elements(t.parts) part
                 WHERE t.asset_id = a.id AND part ->> 'track_id' = k.track_id), 0)::float8 AS talk_time
FROM track_embedding e JOIN track k ON k.id = e.track_pk JOIN asset a ON a.id = k.asset_id AND a.state = 'done'
LEFT JOIN asset_person ap ON ap.id = k.asset_person_id LEFT JOIN person p ON p.id = ap.person_id
"""


def vectors(connection: Connection, vector_ids: Sequence[int]) -> dict[int, VectorRow]:
    """Return what vectors of the index stand for, by id; those that have gone since are left out."""
    return {row.vector_id: row for row in _rows(connection, VectorRow, _VECTORS + " WHERE e.id = ANY(%s)", (list(vector_ids),))}


def person_vectors(connection: Connection, person_ids: Sequence[str], model: str) -> dict[int, VectorRow]:
    """Return the vectors of all tracks of persons, by id; `model` is the embedder's sha256."""
    sql = _VECTORS + " JOIN model m ON m.id = e.model_id WHERE ap.person_id = ANY(%s) AND m.sha256 = %s"
    return {row.vector_id: row for row in _rows(connection, VectorRow, sql, (list(person_ids), model))}


# ---- work --------------------------------------------------------------------------------------------------------------------


def list_quarantine(connection: Connection) -> list[QuarantineRow]:
    """Return the files that are set aside now, by name."""
    return _rows(
        connection, QuarantineRow, "SELECT uri, name, sha256, error, reason, since FROM quarantine WHERE released_at IS NULL ORDER BY name, uri"
    )


def list_stages(connection: Connection, *, run_id: int | None = None, sha256: str | None = None) -> list[StageRow]:
    """Return the stages of a run, of an asset, or of both, in the order in which they ended."""
    return _rows(
        connection, StageRow,
        """SELECT s.run_id, a.name AS asset, a.sha256 AS asset_sha256, s.stage, s.span, s.key, s.outcome, s.started_at, s.seconds, s.bytes, s.attempt,
                  s.error
           FROM stage_run s LEFT JOIN asset a ON a.id = s.asset_id
           WHERE (%(run)s::bigint IS NULL OR s.run_id = %(run)s) AND (%(sha256)s::text IS NULL OR a.sha256 = %(sha256)s) ORDER BY s.id""",
        {"run": run_id, "sha256": sha256},
    )  # fmt: skip


def list_collections(connection: Connection) -> list[tuple[str, int]]:
    """Return (name, number of assets) of all collections, by name."""
    rows = connection.execute(
        "SELECT c.name, count(a.id) FROM collection c LEFT JOIN asset a ON a.collection_id = c.id GROUP BY c.id ORDER BY c.name"
    )
    return [(name, count) for name, count in rows]
