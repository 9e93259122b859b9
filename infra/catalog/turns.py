"""Turns of an asset, as rows."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from asd_core.records import Analysis
from infra.catalog.connection import Connection


def write_turns(connection: Connection, asset_id: int, analysis: Analysis, persons: Mapping[str, int]) -> None:
    """Write an asset's turns, numbered by time; `persons` are the row ids of its people."""
    rows = []
    for number, turn in enumerate(sorted(analysis.turns, key=lambda t: (t.start, t.end, t.people_id or "", t.voice_id or ""))):
        parts = [{"start": part.start, "end": part.end, "track_id": part.track_id} for part in turn.parts]
        person = None if turn.people_id is None else persons[turn.people_id]
        rows.append((asset_id, number, turn.start, turn.end, person, turn.voice_id, turn.on_screen, turn.confidence, turn.audio_track, Jsonb(parts)))
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO turn (asset_id, number, start, "end", asset_person_id, voice_id, on_screen, confidence, audio_track, parts)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            rows,
        )
