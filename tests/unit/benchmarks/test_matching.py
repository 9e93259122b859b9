"""Tracks get their people from where they are, never from what they score."""

import numpy as np

from benchmarks.accuracy import _errors, _length
from benchmarks.matching import FoundTrack, _by_boxes, _the_only_one


def track(first, count, x, size=100):
    boxes = np.tile(np.array([x, 0, x + size, size], np.float32), (count, 1))
    return FoundTrack(first, boxes, np.zeros(count, np.float32), ())


def test_given_boxes_name_whom_they_overlap_most():
    given = {
        "left": {n: np.array([0, 0, 100, 100], np.float32) for n in range(50)},
        "right": {n: np.array([300, 0, 400, 100], np.float32) for n in range(50)},
    }
    assert _by_boxes(given, [track(0, 50, 10), track(20, 40, 310), track(0, 50, 700)]) == ["left", "right", None]


def test_the_only_person_is_the_largest_face_while_visible():
    person = {"id": "p", "visible": [[0.0, 4.0]]}
    assert _the_only_one(person, [track(0, 50, 0, 200), track(0, 50, 400, 50), track(60, 30, 400, 50), track(200, 50, 0, 200)]) == [
        "p",
        None,
        "p",
        None,
    ]


def test_a_right_voice_on_the_wrong_face_is_confusion():
    wrong = _errors([("a", 0, 4)], [("b", 0, 4)], 10.0, 0.0)
    assert (wrong["confusion"], wrong["missed"], wrong["false_alarm"], wrong["total"]) == (4, 0, 0, 4)


def test_a_collar_forgives_half_of_itself_on_each_side():
    late = _errors([("a", 1, 4)], [("a", 1.2, 4.2)], 10.0, 0.5)
    assert (late["missed"], late["false_alarm"]) == (0, 0)
    assert late["total"] == 2.5


def test_errors_without_anything():
    assert _errors([], [], 5.0, 0.5)["total"] == 0
    assert _errors([], [("nobody", 1, 2)], 5.0, 0.0)["false_alarm"] == 1


def test_lengths_of_overlapping_stretches_count_once():
    assert _length([(0, 2), (1, 3), (5, 6), (7, 7)]) == 4
