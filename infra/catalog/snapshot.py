"""The library's content as plain rows without surrogate ids and clocks: two libraries made of the same media compare equal.

Serves tests: kill and repeat, any order, any number of workers. A person stands for its members, not for its id; runs,
stage runs, logs and audits are history, not content.
"""

from __future__ import annotations

import hashlib
from typing import Any

from infra.catalog.connection import Connection

QUERIES = {
    "collection": "SELECT name, identify, retention_days FROM collection",
    "asset": """SELECT a.sha256, a.name, c.name, a.size, a.state, a.reason, a.retryable, a.container, a.duration, a.width, a.height, a.frame_rate,
                       a.video_start, a.start_timecode, a.audio_track, a.models::text, a.settings::text, a.analysis_key, a.plan_digest
                FROM asset a LEFT JOIN collection c ON c.id = a.collection_id""",
    "location": "SELECT l.uri, l.name, l.size, l.version, a.sha256, l.gone_at IS NULL FROM location l LEFT JOIN asset a ON a.id = l.asset_id",
    "audio_track": """SELECT a.sha256, t.index, t.codec, t.channels, t.layout, t.sample_rate, t.language, t.title, t.is_default, t.start, t.duration
                      FROM audio_track t JOIN asset a ON a.id = t.asset_id""",
    "shot": 'SELECT a.sha256, s.number, s.start, s."end" FROM shot s JOIN asset a ON a.id = s.asset_id',
    "asset_span": 'SELECT a.sha256, s.kind, s.start, s."end" FROM asset_span s JOIN asset a ON a.id = s.asset_id',
    "asset_person": """SELECT a.sha256, p.people_id, p.person_id, n.name, p.identifiable, p.anchor_time, p.anchor_box, p.together,
                              p.sightings, p.talk_time, p.screen_time
                       FROM asset_person p JOIN asset a ON a.id = p.asset_id LEFT JOIN person n ON n.id = p.person_id""",
    "person": "SELECT p.id, p.name, p.hidden FROM person p WHERE p.active",
    "prototype": """SELECT a.sha256, p.people_id, m.sha256, t.number, t.vector, t.support FROM prototype t
                    JOIN asset_person p ON p.id = t.asset_person_id JOIN asset a ON a.id = p.asset_id JOIN model m ON m.id = t.model_id""",
    "track": """SELECT a.sha256, t.track_id, t.number, p.people_id, t.shot, t.start, t."end", t.still, t.best_time, t.best_box, t.best_quality,
                       t.thumbnail
                FROM track t JOIN asset a ON a.id = t.asset_id LEFT JOIN asset_person p ON p.id = t.asset_person_id""",
    "track_embedding": """SELECT a.sha256, t.track_id, m.sha256, e.vector, e.vectors, e.quality FROM track_embedding e
                          JOIN track t ON t.id = e.track_pk JOIN asset a ON a.id = t.asset_id JOIN model m ON m.id = e.model_id""",
    "appearance": """SELECT a.sha256, p.people_id, x.start, x."end" FROM appearance x
                     JOIN asset_person p ON p.id = x.asset_person_id JOIN asset a ON a.id = p.asset_id""",
    "turn": """SELECT a.sha256, t.number, t.start, t."end", p.people_id, t.voice_id, t.on_screen, t.confidence, t.audio_track, t.parts::text
               FROM turn t JOIN asset a ON a.id = t.asset_id LEFT JOIN asset_person p ON p.id = t.asset_person_id""",
    "model": "SELECT role, name, sha256 FROM model",
    "correction": "SELECT row_number() OVER (ORDER BY number), kind, anchors::text, value, who FROM correction WHERE kind <> 'undo'",
    "quarantine": "SELECT uri, name, sha256, error, reason FROM quarantine WHERE released_at IS NULL",
}


def snapshot(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return the sorted rows of every table; long bytes stand as their SHA-256, a person as the sorted people it is made of."""
    members: dict[str, list[str]] = {}
    for person_id, sha256, people_id in connection.execute(
        """SELECT p.person_id, a.sha256, p.people_id FROM asset_person p JOIN asset a ON a.id = p.asset_id
           WHERE p.person_id IS NOT NULL ORDER BY 2, 3"""
    ):
        members.setdefault(person_id, []).append(f"{sha256[:12]}:{people_id}")
    names = {person_id: ",".join(people) for person_id, people in members.items()}

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return hashlib.sha256(value).hexdigest()
        return tuple(value) if isinstance(value, list) else names.get(value, value) if isinstance(value, str) else value

    return {
        table: sorted((tuple(plain(value) for value in row) for row in connection.execute(query.encode())), key=repr)
        for table, query in QUERIES.items()
    }
