"""Faces are linked through movement, gaps and crossings, and a stream sees what a batch sees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.faces.crop import MEDIAN_REACH, crop_squares
from asd_core.faces.track import SMOOTH_REACH, Stretch, Tracker, TrackOptions, fill, join, match_faces
from asd_core.records import Detections


def faces(*rows):
    """Detections of faces given as (centre x, centre y, size) or (centre x, centre y, size, score)."""
    boxes = np.array([(x - s / 2, y - s / 2, x + s / 2, y + s / 2) for x, y, s, *_ in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[3] if len(row) > 3 else 0.9 for row in rows], np.float32)
    landmarks = np.repeat(boxes[:, None, :2], 5, axis=1)
    return Detections(boxes, scores, landmarks)


def run(observations, options=None):
    tracker = Tracker(options or TrackOptions())
    for instant, found in observations:
        tracker.update(instant, found)
    return tracker.finish()


def test_no_faces_give_no_tracks():
    assert run([(0, faces()), (8, faces())]) == []


def test_a_still_face_is_one_track():
    (track,) = run([(i, faces((100, 100, 50))) for i in range(0, 80, 8)])
    assert track.instants.tolist() == list(range(0, 80, 8))


@pytest.mark.parametrize("speed", [0, 2, 5, 8, -8])  # pixels an instant at a size of 100: 8 is two sizes a second
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_a_pan_keeps_a_face(speed, stride):
    assert len(run([(i, faces((500 + speed * i, 200, 100))) for i in range(0, 80, stride)])) == 1


def test_crossing_faces_keep_their_ways():
    ways = [(i, faces((100 + 6 * i, 100, 60), (580 - 6 * i, 130, 62))) for i in range(0, 80, 4)]
    tracks = run(ways)
    assert len(tracks) == 2
    for track in tracks:
        steps = np.diff(track.boxes[:, 0])
        assert (np.sign(steps) == np.sign(steps[0])).all()


def test_a_low_score_continues_a_track_but_begins_none():
    seen = run([(0, faces((100, 100, 50))), (8, faces((100, 100, 50, 0.3), (400, 100, 50, 0.3))), (16, faces((100, 100, 50)))])
    assert [track.instants.tolist() for track in seen] == [[0, 8, 16]]


def test_a_gap_is_bridged_up_to_the_limit_and_no_further():
    face = faces((100, 100, 50))
    bridged = run([(0, face), (8, faces()), (10, face)])
    assert [track.instants.tolist() for track in bridged] == [[0, 10]]
    assert len(run([(0, face), (8, faces()), (11, face)])) == 2


def test_a_cut_ends_all_tracks():
    tracker = Tracker()
    tracker.update(0, faces((100, 100, 50)))
    tracker.cut(4)
    assert tracker.settled_until == 4
    tracker.update(4, faces((100, 100, 50)))
    assert [track.instants.tolist() for track in tracker.finish()] == [[0], [4]]


def test_a_face_of_another_size_is_another_face():
    assert len(run([(0, faces((100, 100, 50))), (4, faces((100, 100, 120)))])) == 2


def test_another_face_in_the_same_place_is_another_track():
    """As in a push wipe, where one face slides out and another to where it was."""
    tracker = Tracker(TrackOptions())
    ann, bob = np.array([[0.8, 0.6]], np.float32), np.array([[0.6, -0.8]], np.float32)
    for instant in range(0, 20, 2):
        tracker.update(instant, faces((100, 100, 50)), ann if instant < 10 else bob)
    assert [track.instants.tolist() for track in tracker.finish()] == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]


def test_instants_must_rise():
    tracker = Tracker()
    tracker.update(5, faces())
    with pytest.raises(ValueError, match="rise"):
        tracker.update(5, faces())
    with pytest.raises(ValueError, match="cut"):
        tracker.cut(5)


def test_unsettled_boxes_are_refused():
    tracker = Tracker()
    tracker.update(0, faces((100, 100, 50)))
    with pytest.raises(ValueError, match="not settled"):
        tracker.stretches(0, 5)


worlds = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 12), st.integers(-15, 15), st.floats(0.2, 1.0)), max_size=4)),
    min_size=1,
    max_size=14,
)


def watched(world):
    """A programme of looks: after `step` instants, faces at places (a grid of 80 px) with some jitter."""
    instant = 0
    for step, places in world:
        instant += step
        unique = {place: (place * 80.0, 100.0 + jitter, 60.0 + jitter, score) for place, jitter, score in places}
        yield instant, faces(*unique.values())


@given(worlds)
@settings(max_examples=120, deadline=None)
def test_a_stream_sees_what_a_batch_sees(world):
    """Boxes and crops of settled instants never change, and equal those of the finished track bit for bit."""
    tracker = Tracker()
    boxes, squares, box_done, crop_done = {}, {}, 0, 0

    def read(until):
        nonlocal box_done, crop_done
        for piece in tracker.stretches(box_done, until):
            boxes.update(
                {
                    (piece.key, piece.first + i): (box.tobytes(), bool(seen))
                    for i, (box, seen) in enumerate(zip(piece.boxes, piece.observed, strict=True))
                }
            )
        box_done = until
        crop_until = until - MEDIAN_REACH
        if crop_until > crop_done:
            for piece in tracker.stretches(crop_done - MEDIAN_REACH, until):
                for i, square in enumerate(crop_squares(piece.boxes)):
                    if crop_done <= piece.first + i < crop_until:
                        squares[piece.key, piece.first + i] = square.tobytes()
            crop_done = crop_until

    before = 0
    for instant, found in watched(world):
        tracker.update(instant, found)
        assert before <= tracker.settled_until
        assert tracker.settled_until > instant - tracker.options.reach
        before = tracker.settled_until
        read(max(before, box_done))
    tracks = tracker.finish()
    read(instant + MEDIAN_REACH + 1)
    expected_boxes, expected_squares = {}, {}
    for track in tracks:
        first, filled, observed = fill(track.instants, track.boxes)
        expected_boxes.update(
            {(track.key, first + i): (box.tobytes(), bool(seen)) for i, (box, seen) in enumerate(zip(filled, observed, strict=True))}
        )
        expected_squares.update({(track.key, first + i): square.tobytes() for i, square in enumerate(crop_squares(filled))})
    assert boxes == expected_boxes
    assert squares == expected_squares


@given(worlds, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_detections_does_not_matter(world, random):
    def shuffled(found):
        order = random.sample(range(len(found)), len(found))
        return Detections(found.boxes[order], found.scores[order], found.landmarks[order])

    straight = run(watched(world))
    mixed = run([(instant, shuffled(found)) for instant, found in watched(world)])
    assert [(t.instants.tolist(), t.boxes.tolist()) for t in straight] == [(t.instants.tolist(), t.boxes.tolist()) for t in mixed]


def test_filling_keeps_steady_movement_and_the_ends():
    instants = np.array([0, 8, 9, 17])
    boxes = np.stack([instants * 2.0, instants * 3.0, instants * 2.0 + 40, instants * 3.0 + 50], axis=1).astype(np.float32)
    first, filled, observed = fill(instants, boxes)
    assert first == 0
    np.testing.assert_allclose(filled[:, 0], np.arange(18) * 2.0, atol=1e-4)
    np.testing.assert_allclose(filled[[0, -1]], boxes[[0, -1]], atol=1e-4)
    assert np.flatnonzero(observed).tolist() == [0, 8, 9, 17]


def test_filling_one_observation_gives_it_back():
    _, filled, observed = fill(np.array([7]), np.array([[1, 2, 3, 4]], np.float32))
    assert filled.tolist() == [[1, 2, 3, 4]]
    assert observed.tolist() == [True]


def test_a_far_observation_moves_no_box():
    instants = np.arange(0, 60, 8)
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (len(instants), 1))
    moved = boxes.copy()
    moved[-1] += 30
    _, before, _ = fill(instants, boxes)
    _, after, _ = fill(instants, moved)
    changed = np.flatnonzero((before != after).any(axis=1))
    assert changed.min() >= instants[-1] - 8 - SMOOTH_REACH


def test_what_is_in_no_pair_appeared_or_vanished():
    pairs = match_faces(faces((100, 100, 50), (300, 100, 50)).boxes, faces((110, 100, 50), (600, 100, 50)).boxes, 8, TrackOptions())
    assert pairs.tolist() == [[0, 0]]


def stretch(first, rows):
    return Stretch(0, first, faces(*rows).boxes, np.ones(len(rows), np.bool_))


def test_tracks_of_neighbouring_blocks_join_one_to_one():
    left = [stretch(0, [(100, 100, 50)] * 20), stretch(0, [(300, 100, 50)] * 20), stretch(0, [(500, 100, 50)] * 5)]
    right = [stretch(10, [(302, 100, 50)] * 20), stretch(10, [(101, 100, 50)] * 20), stretch(10, [(500, 100, 50)] * 20)]
    assert join(left, right) == [(0, 1), (1, 0)]
    assert join([], right) == []


def test_two_candidates_for_one_track_leave_one_over():
    left = [stretch(0, [(100, 100, 50)] * 20)]
    right = [stretch(10, [(104, 100, 50)] * 3), stretch(13, [(100, 100, 50)] * 20)]
    assert join(left, right) == [(0, 1)]
