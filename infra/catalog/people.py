"""People: an asset's people, their tracks and vectors, and the persons of the library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asd_core.records import Analysis, Anchor, Group, Minted, Partition
from asd_core.timeline import extent, seen, talk_time, total
from infra.catalog.connection import Connection


def ensure_models(connection: Connection, models: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Return the row ids of models by sha256; new ones are noted."""
    ids = {}
    for role, model in sorted(models.items()):
        connection.execute(
            "INSERT INTO model (role, name, sha256) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (role, model["name"], model["sha256"])
        )
        row = connection.execute("SELECT id FROM model WHERE role = %s AND sha256 = %s", (role, model["sha256"])).fetchone()
        if row is not None:
            ids[model["sha256"]] = int(row[0])
    return ids


# ---- of one asset ------------------------------------------------------------------------------------------------------------


def write_people(connection: Connection, asset_id: int, analysis: Analysis, groups: Iterable[Group], model_id: int | None) -> dict[str, int]:
    """Write an asset's people with prototypes and appearances; return their row ids by people id."""
    group_of = {group.people_id: group for group in groups}
    ids = {}
    for person in analysis.people.people:
        appearances = seen(person, analysis)
        group = group_of[person.id]
        row = connection.execute(
            """INSERT INTO asset_person
                   (asset_id, people_id, identifiable, anchor_time, anchor_box, together, sightings, talk_time, screen_time)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            (
                asset_id, person.id, group.identifiable, group.anchor.time, list(group.anchor.box), list(group.together),
                np.ascontiguousarray(group.sightings, "<f8").tobytes(), talk_time(person, analysis), total(appearances),
            ),
        ).fetchone()  # fmt: skip
        assert row is not None  # RETURNING
        ids[person.id] = int(row[0])
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO appearance VALUES (%s, %s, %s)", [(row[0], span.start, span.end) for span in appearances])
            if model_id is not None:
                cursor.executemany(
                    "INSERT INTO prototype VALUES (%s, %s, %s, %s, %s)",
                    [(row[0], model_id, n, _bytes(vector), float(group.support[n])) for n, vector in enumerate(group.prototypes)],
                )
    return ids


def write_tracks(
    connection: Connection, asset_id: int, analysis: Analysis, persons: Mapping[str, int], thumbnails: Mapping[str, bytes]
) -> dict[str, int]:
    """Write an asset's tracks; return their row ids by track id."""
    people_of = {track_id: person.id for person in analysis.people.people for track_id in person.track_ids}
    rows = []
    for number, (track, chips) in enumerate(zip(analysis.tracks, analysis.chips, strict=True)):
        lasts = extent(track, analysis)
        best: tuple[Any, ...] = (None, None, None)
        if len(chips):
            best = (float(chips.times[0]), chips.boxes[0].tolist(), float(chips.quality[0]))
        person = persons.get(people_of.get(track.id, ""))
        rows.append((asset_id, track.id, number, person, track.shot, lasts.start, lasts.end, track.still, *best, thumbnails.get(track.id)))
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO track
                   (asset_id, track_id, number, asset_person_id, shot, start, "end", still, best_time, best_box, best_quality, thumbnail)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            rows,
        )
    return dict(connection.execute("SELECT track_id, id FROM track WHERE asset_id = %s", (asset_id,)).fetchall())


def write_embeddings(
    connection: Connection, analysis: Analysis, tracks: Mapping[str, int], vectors: Mapping[str, NDArray[Any]], model_id: int | None
) -> None:
    """Write the vectors of tracks, and tell the index that they came."""
    if model_id is None:
        return
    rows = []
    for number, track in enumerate(analysis.tracks):
        vector = vectors.get(track.id)
        if vector is not None and len(analysis.embeddings.vectors[number]):
            every, quality = analysis.embeddings.vectors[number], analysis.embeddings.quality[number]
            rows.append((tracks[track.id], model_id, len(vector), _bytes(vector), _bytes(every), _bytes(quality)))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO track_embedding (track_pk, model_id, dimension, vector, vectors, quality) VALUES (%s, %s, %s, %s, %s, %s)", rows
        )
    connection.execute(
        """INSERT INTO index_log (model_id, vector_id, action)
           SELECT model_id, id, 'add' FROM track_embedding WHERE track_pk = ANY(%s) AND model_id = %s ORDER BY id""",
        ([row[0] for row in rows], model_id),
    )


def log_removal(connection: Connection, asset_id: int) -> None:
    """Tell the index that an asset's vectors go."""
    connection.execute(
        """INSERT INTO index_log (model_id, vector_id, action)
           SELECT e.model_id, e.id, 'remove' FROM track_embedding e JOIN track t ON t.id = e.track_pk WHERE t.asset_id = %s ORDER BY e.id""",
        (asset_id,),
    )


# ---- of the library ----------------------------------------------------------------------------------------------------------


def read_groups(connection: Connection, model: str) -> tuple[Group, ...]:
    """Return all people of all assets that may be identified, with their prototypes under the embedder of sha256 `model`.

    Assets that were analysed with another embedder are left out until they are analysed again. Sorted by asset and people id.
    """
    vectors: dict[int, tuple[list[NDArray[Any]], list[float]]] = {}
    for pk, vector, support in connection.execute(
        """SELECT p.asset_person_id, p.vector, p.support FROM prototype p JOIN model m ON m.id = p.model_id
           WHERE m.role = 'embedder' AND m.sha256 = %s ORDER BY p.asset_person_id, p.number""",
        (model,),
    ):
        entry = vectors.setdefault(pk, ([], []))
        entry[0].append(np.frombuffer(vector, "<f4"))
        entry[1].append(support)
    dimension = next((len(entry[0][0]) for entry in vectors.values()), 0)
    rows = connection.execute(
        """SELECT ap.id, a.sha256, ap.people_id, ap.anchor_time, ap.anchor_box, ap.sightings, ap.together, ap.identifiable
           FROM asset_person ap JOIN asset a ON a.id = ap.asset_id LEFT JOIN collection c ON c.id = a.collection_id
           WHERE a.state = 'done' AND coalesce(c.identify, true) AND a.models -> 'embedder' ->> 'sha256' = %s
           ORDER BY a.sha256, ap.people_id""",
        (model,),
    )
    return tuple(
        Group(
            asset=sha256, people_id=people_id, anchor=Anchor(sha256, time, _box(box)), together=tuple(together), identifiable=identifiable,
            prototypes=np.stack(vectors[pk][0]) if pk in vectors else np.zeros((0, dimension), np.float32),
            support=np.array(vectors[pk][1] if pk in vectors else [], np.float32),
            sightings=np.frombuffer(seen, "<f8").reshape(-1, 6),
        )
        for pk, sha256, people_id, time, box, seen, together, identifiable in rows
    )  # fmt: skip


def read_minted(connection: Connection) -> tuple[Minted, ...]:
    """Return all person ids that were ever given out, oldest first."""
    rows = connection.execute("SELECT id, anchor_asset, anchor_time, anchor_box, minted_order FROM person ORDER BY minted_order")
    return tuple(Minted(id=pid, anchor=Anchor(asset, time, _box(box)), order=order) for pid, asset, time, box, order in rows)


def apply_partition(connection: Connection, partition: Partition) -> None:
    """Write who is who; only what differs is touched. Needs a serial transaction.

    Ids are never deleted: one that no group has any more becomes inactive, one that joined another its alias.
    """
    for person in partition.persons:
        connection.execute(
            """INSERT INTO person (id, anchor_asset, anchor_time, anchor_box, name) VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (id) DO UPDATE SET name = excluded.name, active = true
               WHERE person.name IS DISTINCT FROM excluded.name OR NOT person.active""",
            (person.id, person.anchor.asset, person.anchor.time, list(person.anchor.box), person.name),
        )
    _apply_aliases(connection, partition)
    _apply_members(connection, partition)
    connection.execute("UPDATE person SET active = false WHERE active AND NOT id = ANY(%s)", ([person.id for person in partition.persons],))


def _apply_aliases(connection: Connection, partition: Partition) -> None:
    wanted = {(alias, person.id) for person in partition.persons for alias in person.aliases}
    known = set(connection.execute("SELECT alias, person_id FROM person_alias").fetchall())
    with connection.cursor() as cursor:
        cursor.executemany("DELETE FROM person_alias WHERE alias = %s AND person_id = %s", sorted(known - wanted))
        cursor.executemany(
            "INSERT INTO person_alias (alias, person_id) SELECT %s, %s WHERE EXISTS (SELECT 1 FROM person WHERE id = %s)",
            [(alias, person_id, alias) for alias, person_id in sorted(wanted - known)],
        )


def _apply_members(connection: Connection, partition: Partition) -> None:
    wanted: dict[tuple[str, str], str | None] = dict.fromkeys(partition.nobody)
    wanted |= {member: person.id for person in partition.persons for member in person.members}
    rows = connection.execute("SELECT ap.id, a.sha256, ap.people_id, ap.person_id FROM asset_person ap JOIN asset a ON a.id = ap.asset_id").fetchall()
    changes = [(wanted[asset, people_id], pk) for pk, asset, people_id, now in rows if wanted.get((asset, people_id), now) != now]
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE asset_person SET person_id = %s WHERE id = %s", changes)


def _bytes(vector: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(vector, "<f4").tobytes()


def _box(values: list[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2
