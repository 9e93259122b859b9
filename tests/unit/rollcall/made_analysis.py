"""A hand-made analysis: two people in two shots, a framed photograph, an off-screen voice; nothing in it was measured."""

import numpy as np

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

SHA256 = "ab" * 32
WIDTH, HEIGHT = 320, 180
NAMES = {"p1": ("6f1c9a2e", "Grace <Hopper>"), "p2": ("0b7d44aa", None)}
TERMS = "made, not for commercial use"


def _track(name: str, shot: int, first: int, count: int, x: float, *, still: bool = False) -> Track:
    left = x + np.linspace(0, 4, count)
    boxes = np.column_stack([left, np.full(count, 40.0), left + 60, np.full(count, 110.0)]).astype(np.float32)
    return Track(name, shot, first, boxes, np.ones(count, bool), still)


def _chips(count: int) -> Chips:
    return Chips(np.arange(count) * 0.5, np.tile(np.float32([40, 40, 100, 110]), (count, 1)), np.full(count, 0.8, np.float32))


def _person(name: str, track_ids: tuple[str, ...], time: float, *, identifiable: bool = True) -> Person:
    prototypes = np.eye(1, 4, dtype=np.float32)
    return Person(name, track_ids, prototypes, np.ones(1, np.float32), time, (40.0, 40.0, 100.0, 110.0), identifiable)


def made_analysis() -> Analysis:
    """Four seconds: p1 speaks 0.2-1.6 over the cut at 1 s, p2 speaks 1.8-2.6, an unknown voice 3.0-3.6; t4 is a photograph."""
    tracks = (
        _track("t1", 0, 0, 25, 30), _track("t2", 0, 0, 25, 200), _track("t3", 1, 25, 50, 40), _track("t4", 1, 25, 50, 240, still=True),
        _track("t5", 1, 40, 35, 140),
    )  # fmt: skip
    speaking = {"t1": (5, 25), "t3": (0, 15), "t5": (5, 25)}
    logits = tuple(
        np.where((np.arange(len(t)) >= speaking.get(t.id, (0, 0))[0]) & (np.arange(len(t)) < speaking.get(t.id, (0, 0))[1]), 2.5, -3.25).astype(
            np.float32
        )
        for t in tracks
    )
    probabilities = tuple((1 / (1 + np.exp(-row))).astype(np.float32) for row in logits)
    turns = (
        Turn(0.2, 1.6, "p1", None, True, (TurnPart(0.2, 1.0, "t1"), TurnPart(1.0, 1.6, "t3")), 0.93, 1),
        Turn(1.8, 2.6, "p2", None, True, (TurnPart(1.8, 2.6, "t5"),), 0.81, 1),
        Turn(3.0, 3.6, None, "v1", False, (TurnPart(3.0, 3.6, None),), 0.6, 1),
    )
    chips = tuple(_chips(2) for _ in tracks)
    return Analysis(
        info=MediaInfo(
            "mov,mp4", 4.0, 0.0, "10:00:00:00",
            VideoTrack(0, "h264", "yuv420p", WIDTH, HEIGHT, WIDTH, HEIGHT, 0, 1.0, 30000 / 1001, False, 0.0, 4.0),
            (AudioTrack(1, "aac", 2, "stereo", 48000, "eng", None, True, 0.0, 4.0),),
        ),
        audio_track=1,
        shots=(Shot(0.0, 1.0), Shot(1.0, 4.0)),
        speech=(Span(0.2, 1.6), Span(1.8, 2.6), Span(3.0, 3.6)),
        spans=(KindSpan(3.7, 4.0, "silence"),),
        tracks=tracks,
        scores=Scores(logits, probabilities),
        embeddings=Embeddings("ef" * 32, tuple(np.eye(2, 4, dtype=np.float32) for _ in tracks), tuple(np.ones(2, np.float32) for _ in tracks)),
        chips=chips,
        thumbnails=(b"",) * len(chips),
        people=People(
            (_person("p1", ("t1", "t3"), 0.4), _person("p2", ("t2", "t5"), 2.0), _person("p3", ("t4",), 1.4, identifiable=False)), (("p1", "p2"),)
        ),
        turns=turns,
        models={role: {"name": f"{role}_made", "sha256": "ef" * 32, "licence": TERMS} for role in ("detector", "speaking", "embedder")},
        settings={"speaking_logit": 0.0},
    )  # fmt: skip
