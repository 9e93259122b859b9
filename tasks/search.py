"""Search: a face in a photo or a frame, or a person by name, and every moment in which the library sees or hears them.

Every hit carries its evidence: the cosine to the query, the threshold, the track and where its best chip stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asd_core.errors import RequestError, Unreadable
from asd_core.faces.align import CHIP_SIZE, align_matrix, chip_quality, chip_worth
from asd_core.faces.embed import Embedder
from asd_core.identity.search import SearchOptions, find_tracks, photo_query, photo_views
from asd_core.media.decode import read_frames
from asd_core.media.photo import cut_patch, read_photo
from asd_core.media.probe import probe
from asd_core.models.registry import Model
from asd_core.records import Detections, Span
from asd_core.timeline import GRID_HZ, difference, nearest_instant
from infra.catalog import lookups
from infra.catalog.rows import PersonRow, VectorRow
from infra.inference import Profile
from tasks import networks
from tasks.index import open_index

if TYPE_CHECKING:
    from infra.catalog.connection import Connection
    from infra.wiring import Adapters
    from tasks.plan import Plan

SHORTEST_MOMENT = 0.2  # seconds: what is left of a track between turns is listed from here on


@dataclass(frozen=True, slots=True, eq=False)
class QueryFace:
    """The face that is looked for: its vector (D,), its box in the picture, and how many faces the picture shows (this is the `number`-th)."""

    vector: NDArray[np.float32]
    box: tuple[float, float, float, float]
    quality: float
    number: int
    faces: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch in which the person who was looked for speaks or is seen.

    `cosine` is that of the query to the track (None where the person was found by name, or is only heard); `through` names the person who
    was recognised elsewhere and so is known here, where the track itself is less alike than the threshold.
    """

    asset: str
    asset_sha256: str
    start: float
    end: float
    person_id: str | None
    person: str | None
    on_screen: bool
    speaking: bool
    confidence: float | None
    cosine: float | None
    track_id: str | None
    through: str | None = None
    chip_time: float | None = None
    chip_box: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: moments by asset and time, and the cosine from which a face counts as the same."""

    moments: tuple[Moment, ...]
    threshold: float


def query_face(picture: Path, second: float | None, number: int | None, adapters: Adapters, plan: Plan) -> QueryFace:
    """Return the face in a photo, or in the frame of a video at a second; read in the decoding child.

    Raises:
        RequestError: no face there, or not so many.
        Unreadable: neither a picture nor a video.
    """
    face: QueryFace = adapters.sandbox.call(
        "tasks.search:read_face", picture.absolute(), second, number, plan.models["detector"], plan.models["embedder"], plan.profile, plan.threads,
        timeout=adapters.settings.limits.seconds_at_least,
    )  # fmt: skip
    return face


def read_face(path: Path, second: float | None, number: int | None, detector: Model, embedder: Model, profile: Profile, threads: int) -> QueryFace:
    """Return the largest face of a picture, or the `number`-th from the left (from 1 on); runs in the sandbox."""
    picture = _picture(path, second)
    finder = networks.detector(detector, profile, threads)
    found = finder.detect(picture)
    sure = np.flatnonzero(found.scores >= finder.score_threshold)
    order = sure[np.argsort(found.boxes[sure, 0], kind="stable")]  # from left to right
    if not len(order):
        raise RequestError(f"no face is found in {path.name}{f' at {second:g} s' if second is not None else ''}; try a larger or more frontal one")
    if number is not None and not 1 <= number <= len(order):
        raise RequestError(f"{path.name} shows {len(order)} face{'s' if len(order) > 1 else ''}; --face takes 1 to {len(order)}, from left to right")
    areas = np.prod(found.boxes[order, 2:] - found.boxes[order, :2], axis=1)
    place = int(np.argmax(areas)) if number is None else number - 1
    return _face(picture, found, int(order[place]), networks.embedder(embedder, profile, threads), place + 1, len(order))


def _picture(path: Path, second: float | None) -> NDArray[np.uint8]:
    if second is not None and not math.isfinite(second):
        raise RequestError(f"{path.name}@{second:g} names no moment: say the seconds, such as {path.name}@12.5")
    picture = read_photo(path) if second is None else None
    if picture is not None:
        return picture
    try:
        info = probe(path)
    except Unreadable:
        if second is None:
            raise Unreadable(f"{path.name} is not a picture") from None
        raise
    if second is None:
        raise RequestError(f"{path.name} is a video: say which frame, such as {path.name}@12.5")
    if info.video is None:
        raise RequestError(f"{path.name} has no picture")
    instant = nearest_instant(second) / GRID_HZ
    for frame in read_frames(path, info, start=instant, end=instant + 1 / GRID_HZ):
        return frame.picture((info.video.width, info.video.height))
    raise RequestError(f"{path.name} shows no picture at {second:g} s; it lasts {info.duration:.1f} s")


def _face(picture: NDArray[np.uint8], found: Detections, row: int, embedder: Embedder, number: int, faces: int) -> QueryFace:
    chip = cut_patch(picture, align_matrix(found.landmarks[row]), CHIP_SIZE)
    vector = photo_query(embedder.embed(photo_views(chip))[0])
    x1, y1, x2, y2 = (float(v) for v in found.boxes[row])
    quality = chip_quality(chip_worth(found.boxes[row], found.landmarks[row], float(found.scores[row])), chip)
    return QueryFace(vector, (x1, y1, x2, y2), quality, number, faces)


# ---- what is found -----------------------------------------------------------------------------------------------------------


def search_face(face: QueryFace, adapters: Adapters, plan: Plan, *, threshold: float | None = None, collection: str | None = None) -> Found:
    """Return every moment of whoever looks like this face.

    A track counts when it is alike enough to the photo, or to the photo and the tracks that are (asd_core.identity.search). A person whom such
    a track belongs to is then known wherever the library knows them.

    Args:
        face: see `query_face`.
        adapters: of this command.
        plan: says which embedder, and through its manifest from which cosine.
        threshold: a cosine in place of the manifest's.
        collection: only in this one.
    """
    options = SearchOptions().for_embedder(plan.models["embedder"].manifest.thresholds)
    if threshold is not None:
        options = replace(options, search_cosine=threshold, support_cosine=max(threshold, options.support_cosine))
    index = open_index(adapters, plan)
    matches = {found.id: found.cosine for found in find_tracks(face.vector, index.alike, index.vector, options)}
    with adapters.catalog.reading() as connection:
        alike = lookups.vectors(connection, list(matches))
        persons = sorted({row.person_id for row in alike.values() if row.person_id is not None})
        theirs = lookups.person_vectors(connection, persons, plan.models["embedder"].sha256)
        rows = {**theirs, **alike}
        wanted = {row.sha256 for row in lookups.list_assets(connection, collection=collection)} if collection is not None else None
        moments = [
            moment
            for vector_id, row in sorted(rows.items())
            if wanted is None or row.asset_sha256 in wanted
            for moment in _track_moments(
                connection,
                row,
                matches.get(vector_id, _cosine(face.vector, row)),
                through=None if vector_id in matches else row.person or row.person_id,
            )
        ]
    return Found(tuple(sorted(moments, key=lambda m: (m.asset, m.start, m.track_id or ""))), options.search_cosine)


def search_person(connection: Connection, person: PersonRow, *, collection: str | None = None) -> tuple[Moment, ...]:
    """Return every moment in which a person of the library speaks or is seen."""
    wanted = {row.sha256 for row in lookups.list_assets(connection, collection=collection)} if collection is not None else None
    turns = [turn for turn in lookups.person_turns(connection, person.id) if wanted is None or turn.asset_sha256 in wanted]
    moments = [
        Moment(
            turn.asset, turn.asset_sha256, turn.start, turn.end, person.id, person.name, turn.on_screen, True, turn.confidence, None,
            next((part["track_id"] for part in turn.parts if part["track_id"]), None),
        )
        for turn in turns
    ]  # fmt: skip
    for seen in lookups.person_appearances(connection, person.id):
        if wanted is not None and seen.asset_sha256 not in wanted:
            continue
        spoken = [Span(turn.start, turn.end) for turn in turns if turn.asset_sha256 == seen.asset_sha256]
        moments += [
            Moment(seen.asset, seen.asset_sha256, rest.start, rest.end, person.id, person.name, True, False, None, None, None)
            for rest in _silent(Span(seen.start, seen.end), spoken)
        ]
    return tuple(sorted(moments, key=lambda m: (m.asset, m.asset_sha256, m.start)))


def _track_moments(connection: Connection, row: VectorRow, cosine: float, *, through: str | None) -> list[Moment]:
    """Return the turns on a track, and what is left of it."""

    def moment(start: float, end: float, confidence: float | None) -> Moment:
        return Moment(
            row.asset, row.asset_sha256, start, end, row.person_id, row.person, True, confidence is not None, confidence, cosine, row.track_id,
            through, row.best_time, tuple(row.best_box) if row.best_box is not None else None,
        )  # fmt: skip

    parts = [
        (part["start"], part["end"], turn.confidence)
        for turn in lookups.asset_turns(connection, row.asset_sha256)
        for part in turn.parts
        if part["track_id"] == row.track_id
    ]
    silent = _silent(Span(row.start, row.end), [Span(start, end) for start, end, _ in parts])
    return [moment(*part) for part in parts] + [moment(rest.start, rest.end, None) for rest in silent]


def _silent(seen: Span, spoken: Iterable[Span]) -> Sequence[Span]:
    return [rest for rest in difference([seen], spoken) if rest.end - rest.start >= SHORTEST_MOMENT]


def _cosine(query: NDArray[np.float32], row: VectorRow) -> float:
    """Return the cosine of the query to the track's own vector, as the index has it."""
    return float(query @ np.frombuffer(row.vector, "<f4"))
