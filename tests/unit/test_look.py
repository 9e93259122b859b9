"""The decode line on a made picture: a bright square that moves, a cut, and a detector that finds squares exactly."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asd_core.faces.align import chip_jpeg
from asd_core.look import look, picture_instants, picture_marks, spans_of_marks
from asd_core.media.decode import read_frames
from asd_core.media.probe import probe
from asd_core.records import Block, Detections, Look
from asd_core.stitch import StitchOptions, chip_faces, stitch, visual_features

WIDTH, HEIGHT, RATE, SECONDS = 320, 180, 25, 23
SIDE = 50
CUT = 14 * RATE + 7  # not on the detector's schedule


def left_edge(frame: int) -> int:
    """Return where the square stands: it drifts, and jumps at the cut."""
    return 20 + frame // 4 if frame < CUT else 240 - (frame - CUT) // 4


@pytest.fixture(scope="module")
def drifting_square(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A textured square that drifts over a dark ground for 23 s, with one cut to a lighter ground at 14.28 s."""
    path = tmp_path_factory.mktemp("look") / "square.mp4"
    texture = np.random.default_rng(0).integers(180, 255, (SIDE, SIDE)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(SECONDS * RATE):
            grey = np.full((HEIGHT, WIDTH), 30 if number < CUT else 110, np.uint8)
            x = left_edge(number)
            grey[60 : 60 + SIDE, x : x + SIDE] = texture
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class SquareDetector:
    """Finds the bright square; counts how often it is asked."""

    def __init__(self, score_threshold: float = 0.5) -> None:
        self.asked = 0
        self.score_threshold = score_threshold

    def fitted_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def detect(self, picture: np.ndarray, *, top: int | None = None, by: str = "area") -> Detections:
        self.asked += 1
        rows, columns = np.nonzero(picture[..., 1] > 150)
        if not len(rows):
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        points = box[:, :2] + np.array([(15, 20), (35, 20), (25, 30), (18, 40), (32, 40)], np.float32)
        return Detections(box, np.array([0.9], np.float32), points[None])


class MeanEncoder:
    """Features that depend on nine crops either way, as the real encoder's do."""

    def encode_visual(self, crops: np.ndarray) -> np.ndarray:
        means = np.pad(crops.mean(axis=(1, 2)), 9)
        return np.stack([means[i : i + 19].sum() for i in range(len(crops))])[:, None].astype(np.float16)


def seen(path: Path, span_marks: int | None) -> tuple[list[Look], SquareDetector]:
    info, detector = probe(path), SquareDetector()
    return [look(path, info, marks, detector=detector, encoder=MeanEncoder()) for marks in spans_of_marks(info, span_marks)], detector


def block_of(looks: list[Look]) -> Callable[[int], Block]:
    return {block.mark: block for found in looks for block in found.blocks}.__getitem__


def test_tracks_follow_the_square_and_end_at_the_cut(drifting_square: Path) -> None:
    looks, detector = seen(drifting_square, None)
    found = stitch(looks, probe(drifting_square))
    assert [round(shot.start * RATE) for shot in found.shots] == [0, CUT]
    assert [(track.first, len(track)) for track in found.tracks] == [(0, CUT), (CUT, SECONDS * RATE - CUT)]
    for track in found.tracks:
        expected = np.array([left_edge(track.first + i) for i in range(len(track))])
        assert np.abs(track.boxes[:, 0] - expected).max() < 2.0
    assert detector.asked < SECONDS * RATE / 6, "the detector runs on a schedule, not on every frame"


@pytest.mark.parametrize("span_marks", [1, 2])
def test_any_span_length_gives_the_same(drifting_square: Path, span_marks: int) -> None:
    info = probe(drifting_square)
    whole_looks, parts_looks = (seen(drifting_square, marks)[0] for marks in (None, span_marks))
    whole, parts = stitch(whole_looks, info), stitch(parts_looks, info)
    assert whole.shots == parts.shots
    assert [(t.id, t.shot, t.first, t.still) for t in whole.tracks] == [(t.id, t.shot, t.first, t.still) for t in parts.tracks]
    for left, right in zip(whole.tracks, parts.tracks, strict=True):
        np.testing.assert_array_equal(left.boxes, right.boxes)
    assert whole.thumbnails == parts.thumbnails
    for left, right, ours, theirs in zip(whole.pieces, parts.pieces, whole.tracks, parts.tracks, strict=True):
        features = visual_features(left, block_of(whole_looks))
        assert len(features) == len(ours) == len(theirs)
        np.testing.assert_array_equal(features, visual_features(right, block_of(parts_looks)))
        np.testing.assert_array_equal(chip_faces(left, block_of(whole_looks)), chip_faces(right, block_of(parts_looks)))


def test_chips_and_their_pixels_are_told_of_in_one_order(drifting_square: Path) -> None:
    """The best one first, of which the thumbnail is made; each cut where the chips say."""
    looks, _ = seen(drifting_square, 1)
    found = stitch(looks, probe(drifting_square))
    pixels = {
        (chip_time, float(box[0])): face
        for one in looks for block in one.blocks for track in block.tracks
        for chip_time, box, face in zip(track.chips.times.tolist(), track.chips.boxes, track.faces, strict=True)
    }  # fmt: skip
    assert any(len(pieces.tracks) > 1 for pieces in found.pieces) and all(len(chips) > 1 for chips in found.chips)
    for chips, pieces, thumbnail in zip(found.chips, found.pieces, found.thumbnails, strict=True):
        faces = chip_faces(pieces, block_of(looks))
        assert (np.diff(chips.quality) <= 0).all()
        for time, box, face in zip(chips.times.tolist(), chips.boxes, faces, strict=True):
            np.testing.assert_array_equal(face, pixels[time, float(box[0])])
        assert thumbnail == chip_jpeg(faces[0])


def test_a_stretch_without_a_picture_is_stepped_over(drifting_square: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four seconds that the decoder could not show, the schedule's instants among them."""
    lost = range(60, 160)
    monkeypatch.setattr("asd_core.look.read_frames", lambda *args, **told: (one for one in read_frames(*args, **told) if one.instant not in lost))
    found = stitch(seen(drifting_square, None)[0], probe(drifting_square))
    assert {track.first for track in found.tracks} >= {0, CUT}
    assert any(lost.stop <= track.first < CUT or track.first + len(track) > lost.stop for track in found.tracks if track.first < CUT)


def test_features_at_a_mark_are_those_of_one_pass(drifting_square: Path) -> None:
    """What the encoder sees across a mark is real crops, not the padding at a block's edge."""
    looks, _ = seen(drifting_square, None)
    found = stitch(looks, probe(drifting_square))
    features = np.concatenate([visual_features(pieces, block_of(looks)) for pieces in found.pieces])[:, 0].astype(np.float64)
    inside = features[20 : CUT - 20]
    assert np.abs(np.diff(inside)).max() < 0.02 * inside.mean()


def test_empty_marks_and_missing_picture(drifting_square: Path) -> None:
    info = probe(drifting_square)
    assert look(drifting_square, info, range(0), detector=SquareDetector(), encoder=MeanEncoder()).blocks == ()


def test_the_detectors_own_threshold_begins_tracks(drifting_square):
    """Its faces score 0.9: above one threshold and below the other."""
    info = probe(drifting_square)
    tracks = [
        [
            track
            for block in look(drifting_square, info, spans_of_marks(info, None)[0], detector=detector, encoder=MeanEncoder()).blocks
            for track in block.tracks
        ]
        for detector in (SquareDetector(0.85), SquareDetector(0.95))
    ]
    assert tracks[0] and not tracks[1]
    assert stitch([], info).tracks == ()
    assert picture_marks(info) == range(3)
    assert picture_instants(info) == range(SECONDS * RATE)


def test_short_tracks_are_dropped(drifting_square: Path) -> None:
    looks, _ = seen(drifting_square, None)
    assert stitch(looks, probe(drifting_square), StitchOptions(shortest_instants=300)).tracks[0].first == 0
    assert len(stitch(looks, probe(drifting_square), StitchOptions(shortest_instants=300)).tracks) == 1


def test_stitching_keeps_no_look(drifting_square: Path) -> None:
    """But the last one while the next is read: a programme's features and chips would not fit into memory."""
    looks, _ = seen(drifting_square, 1)
    held: list[list[weakref.ref[np.ndarray]]] = []

    def one_by_one() -> Iterator[Look]:
        while looks:
            assert not any(ref() is not None for refs in held[:-1] for ref in refs)
            block = looks.pop(0).blocks[0]
            tracks = tuple(replace(track, visual=track.visual.copy(), faces=track.faces.copy(), boxes=track.boxes.copy()) for track in block.tracks)
            held.append([weakref.ref(array) for track in tracks for array in (track.visual, track.faces, track.boxes)])
            fresh = Look((replace(block, tracks=tracks),))
            del block, tracks
            yield fresh
            del fresh

    found = stitch(one_by_one(), probe(drifting_square))
    assert found.tracks and len(held) == 3 and all(held)
    assert not any(ref() is not None for refs in held for ref in refs)
