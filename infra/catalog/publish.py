"""Publishing: an analysis becomes rows, in the caller's one transaction, the same rows however often it is said."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from asd_core.errors import NotFound
from asd_core.records import Analysis, Group, Scores
from infra.catalog import people, turns
from infra.catalog.connection import Connection
from infra.codec import encode

VERSION = 2  # raised when other rows are made of the same analysis


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """All that is published of one asset.

    `groups`: the asset's people as the library sees them (asd_core.identity.assign.groups_of). `vectors`: track id -> (D,) float32 of
    norm 1, what the index holds of a track (asd_core.identity.prototypes.template of its chips); tracks without chips are left out.
    `thumbnails`: track id -> PNG or JPEG of the best chip. `analysis_key`: where the whole analysis is kept as an artifact.
    `plan_digest`: of what was asked for (settings, models, versions), so that the next run sees that all is done.
    """

    analysis: Analysis
    groups: tuple[Group, ...]
    vectors: Mapping[str, NDArray[Any]]
    thumbnails: Mapping[str, bytes]
    analysis_key: str | None = None
    plan_digest: str | None = None

    def digest(self) -> str:
        """Return the SHA-256 of what becomes rows."""
        rows = dataclasses.replace(self.analysis, chips=(), scores=Scores((), ()))
        content = {"version": VERSION, "analysis": rows, "groups": self.groups, "vectors": dict(self.vectors), "thumbnails": dict(self.thumbnails)}
        return hashlib.sha256(encode(content)).hexdigest()


def publish(connection: Connection, sha256: str, publication: Publication) -> bool:
    """Write an asset's rows in place of what was there; return False where they were there already.

    Needs a serial transaction (Catalog.transaction(serial=True)). Persons of the library are given afterwards, in the same transaction:
    `people.read_groups`, assign, `people.apply_partition`.

    Raises:
        NotFound: no such asset; `assets.see_location` comes first.
    """
    row = connection.execute("SELECT id, state, content_digest FROM asset WHERE sha256 = %s FOR UPDATE", (sha256,)).fetchone()
    if row is None:
        raise NotFound(f"no asset {sha256[:12]} in the library")
    asset_id, state, before = row
    digest = publication.digest()
    fresh = not (state == "done" and before == digest)
    if fresh:
        _write(connection, asset_id, publication)
    connection.execute(
        """UPDATE asset SET state = 'done', reason = NULL, retryable = false, attempts = 0, content_digest = %s, analysis_key = %s,
               plan_digest = %s, published_at = CASE WHEN %s THEN now() ELSE published_at END
           WHERE id = %s""",
        (digest, publication.analysis_key, publication.plan_digest, fresh, asset_id),
    )
    connection.execute("UPDATE quarantine SET released_at = now() WHERE sha256 = %s AND released_at IS NULL", (sha256,))
    return fresh


def withdraw(connection: Connection, sha256: str) -> None:
    """Remove what was published of an asset; the asset itself stays, as new."""
    row = connection.execute("SELECT id FROM asset WHERE sha256 = %s FOR UPDATE", (sha256,)).fetchone()
    if row is not None:
        _clear(connection, row[0])
        connection.execute("UPDATE asset SET state = 'new', content_digest = NULL, plan_digest = NULL, analysis_key = NULL WHERE id = %s", (row[0],))


def _clear(connection: Connection, asset_id: int) -> None:
    people.log_removal(connection, asset_id)
    for table in ("turn", "track", "asset_person", "voice_embedding", "asset_span", "shot", "audio_track"):
        connection.execute(f"DELETE FROM {table} WHERE asset_id = %s", (asset_id,))  # noqa: S608 -- names from the line above


def _write(connection: Connection, asset_id: int, publication: Publication) -> None:
    analysis = publication.analysis
    _clear(connection, asset_id)
    _write_media(connection, asset_id, analysis)
    model_ids = people.ensure_models(connection, analysis.models)
    persons = people.write_people(connection, asset_id, analysis, publication.groups, model_ids.get(analysis.embeddings.model))
    tracks = people.write_tracks(connection, asset_id, analysis, persons, publication.thumbnails)
    people.write_embeddings(connection, analysis, tracks, publication.vectors, model_ids.get(analysis.embeddings.model))
    turns.write_turns(connection, asset_id, analysis, persons)


def _write_media(connection: Connection, asset_id: int, analysis: Analysis) -> None:
    info, video = analysis.info, analysis.info.video
    connection.execute(
        """UPDATE asset SET container = %s, duration = %s, width = %s, height = %s, frame_rate = %s, video_start = %s, start_timecode = %s,
               audio_track = %s, models = %s, settings = %s WHERE id = %s""",
        (
            info.container, info.duration, video.width if video else None, video.height if video else None, video.frame_rate if video else None,
            video.start if video else None, info.start_timecode, analysis.audio_track, Jsonb(analysis.models), Jsonb(analysis.settings), asset_id,
        ),
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audio_track VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (asset_id, t.index, t.codec, t.channels, t.layout, t.sample_rate, t.language, t.title, t.default, t.start, t.duration)
                for t in info.audio_tracks
            ],
        )
        cursor.executemany("INSERT INTO shot VALUES (%s, %s, %s, %s)", [(asset_id, n, s.start, s.end) for n, s in enumerate(analysis.shots)])
        spans = [("speech", s.start, s.end) for s in analysis.speech] + [(s.kind, s.start, s.end) for s in analysis.spans]
        cursor.executemany("INSERT INTO asset_span VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", [(asset_id, *span) for span in sorted(spans)])
