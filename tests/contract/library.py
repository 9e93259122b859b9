"""Made analyses for tests of the catalog: small, complete, the same for the same arguments."""

import hashlib

import numpy as np

from asd_core.identity.assign import assign, groups_of
from asd_core.records import (
    Analysis,
    AudioTrack,
    Chips,
    Embeddings,
    KindSpan,
    MediaInfo,
    People,
    Person,
    Scores,
    Shot,
    Span,
    Track,
    Turn,
    TurnPart,
    VideoTrack,
)
from infra.catalog import assets, corrections, people
from infra.catalog.publish import Publication, publish

EMBEDDER = "e" * 64
MODELS = {
    "detector": {"name": "made_detector", "sha256": "d" * 64},
    "speaking": {"name": "made_speaking", "sha256": "5" * 64},
    "embedder": {"name": "made_embedder", "sha256": EMBEDDER},
}


def sha(name):
    return hashlib.sha256(name.encode()).hexdigest()


def face(seed, noise=0.0, nth=0):
    """The (D,) vector of a made face; with noise, its `nth` view."""
    vector = np.random.default_rng(seed).normal(size=64)
    vector /= np.linalg.norm(vector)
    other = np.random.default_rng([seed, nth, 7]).normal(size=64)
    mixed = vector + noise * other / np.linalg.norm(other)
    return (mixed / np.linalg.norm(mixed)).astype(np.float32)


def chips_of(first, boxes, quality):
    return Chips(
        times=np.array([first / 25 + 0.4, first / 25]),
        boxes=boxes[:2].copy(),
        quality=np.array([quality, 0.3], np.float32),
    )


def made_analysis(name, faces=(1, 2)):
    """Ten seconds in which each face has one track and one turn, side by side, and a voice speaks off screen at the end."""
    count, length = len(faces), 100
    tracks, chips, vectors, persons, turns = [], [], [], [], []
    for n, seed in enumerate(faces):
        boxes = np.tile(np.array([100 * n, 10, 100 * n + 80, 110], np.float32), (length, 1))
        tracks.append(Track(id=f"t{n + 1}", shot=0, first=10 * n, boxes=boxes, observed=np.ones(length, bool), still=False))
        chips.append(chips_of(10 * n, boxes, 0.9 - 0.1 * n))
        views = np.stack([face(seed, 0.3, int(sha(name)[:6], 16) + k) for k in range(2)])
        vectors.append(views)
        persons.append(
            Person(
                id=f"p{n + 1}",
                track_ids=(f"t{n + 1}",),
                prototypes=views[:1],
                support=np.ones(1, np.float32),
                anchor_time=0.4 * n + 0.4,
                anchor_box=tuple(float(v) for v in boxes[0]),
                identifiable=True,
            )
        )
        start = 0.4 * n + 1
        turns.append(Turn(start, start + 0.5, f"p{n + 1}", None, True, (TurnPart(start, start + 0.5, f"t{n + 1}"),), 0.9, 1))
    turns.append(Turn(7.0, 9.0, None, "v1", False, (TurnPart(7.0, 9.0, None),), 0.5, 1))
    video = VideoTrack(0, "h264", "yuv420p", 640, 360, 640, 360, 0, 1.0, 25.0, False, 0.0, 10.0)
    audio = AudioTrack(1, "aac", 2, "stereo", 48000, "eng", None, True, 0.0, 10.0)
    return Analysis(
        info=MediaInfo("mov,mp4", 10.0, 0.0, None, video, (audio,)),
        audio_track=1,
        shots=(Shot(0.0, 10.0),),
        speech=(Span(1.0, 3.0), Span(7.0, 9.0)),
        spans=(KindSpan(9.0, 10.0, "silence"),),
        tracks=tuple(tracks),
        scores=Scores(tuple(np.zeros(length, np.float32) for _ in faces), tuple(np.zeros(length, np.float32) for _ in faces)),
        embeddings=Embeddings(EMBEDDER, tuple(vectors), tuple(np.array([0.9, 0.3], np.float32) for _ in faces)),
        chips=tuple(chips),
        thumbnails=(b"",) * len(chips),
        people=People(tuple(persons), tuple((f"p{i + 1}", f"p{j + 1}") for i in range(count) for j in range(i + 1, count))),
        turns=tuple(turns),
        models=MODELS,
        settings={"look": {"stride": 3}},
    )


def made_publication(name, faces=(1, 2)):
    analysis = made_analysis(name, faces)
    return Publication(
        analysis=analysis,
        groups=groups_of(sha(name), analysis.people, analysis.tracks),
        vectors={track.id: views[0] for track, views in zip(analysis.tracks, analysis.embeddings.vectors, strict=True)},
        thumbnails={track.id: b"png " + track.id.encode() for track in analysis.tracks},
        analysis_key=sha("analysis of " + name),
        plan_digest="plan-1",
    )


def identify(connection):
    partition = assign(people.read_groups(connection, EMBEDDER), corrections.read_facts(connection), minted=people.read_minted(connection))
    people.apply_partition(connection, partition)
    return partition


def see(connection, name):
    assets.see_location(connection, collection="shows", uri=f"file:///media/{name}", name=name, size=1000, version="1", sha256=sha(name))


def add(catalog, name, faces=(1, 2)):
    """Ingest a made asset: see, publish, identify."""
    with catalog.transaction() as connection:
        see(connection, name)
    with catalog.transaction(serial=True) as connection:
        fresh = publish(connection, sha(name), made_publication(name, faces))
        identify(connection)
    return fresh
