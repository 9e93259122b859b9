"""Corrections: what users have said. Append-only; the state of the library is their replay."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from psycopg.types.json import Jsonb

from asd_core.records import Anchor, Fact
from infra.catalog.connection import Connection


def add_fact(connection: Connection, kind: str, *, anchors: Iterable[Anchor] = (), value: str | None = None, who: str) -> Fact:
    """Append a fact and return it; the caller then assigns anew, in the same serial transaction."""
    kept = tuple(anchors)
    row = connection.execute(
        """INSERT INTO correction (id, kind, anchors, value, who) VALUES (%s, %s, %s, %s, %s)
           RETURNING id, number, extract(epoch FROM at)::float8""",
        (uuid.uuid4().hex[:12], kind, Jsonb([{"asset": a.asset, "time": a.time, "box": list(a.box)} for a in kept]), value, who),
    ).fetchone()
    assert row is not None  # RETURNING
    return Fact(id=row[0], order=row[1], kind=kind, anchors=kept, value=value, who=who, when=row[2])


def read_facts(connection: Connection) -> tuple[Fact, ...]:
    """Return all facts in the order in which they were said."""
    rows = connection.execute("SELECT id, number, kind, anchors, value, who, extract(epoch FROM at)::float8 FROM correction ORDER BY number")
    return tuple(
        Fact(
            id=fact_id, order=number, kind=kind, value=value, who=who, when=when,
            anchors=tuple(Anchor(a["asset"], float(a["time"]), tuple(map(float, a["box"]))) for a in anchors),
        )
        for fact_id, number, kind, anchors, value, who, when in rows
    )  # fmt: skip
