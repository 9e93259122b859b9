"""The best path is the best path, and the rules of length do what they say."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.records import Span
from asd_core.turns.smooth import Stretch, best_path, fitted_edges, without_pauses


def worth(path, scores, price):
    """Answer 0 holds before and after."""
    return sum(scores[t][a] for t, a in enumerate(path)) - price * sum(a != b for a, b in pairwise([0, *path, 0]))


@settings(deadline=None, max_examples=60)
@given(
    scores=st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=1, max_size=6),
    price=st.integers(0, 6),
    cut=st.integers(0, 6),
)
def test_the_path_is_worth_as_much_as_the_best_of_all(scores, price, cut):
    matrix = np.array(scores, float)
    answers = [(0,), (1,), (2,)]
    stretches = [Stretch(0, answers, matrix[:cut]), Stretch(min(cut, len(matrix)), answers, matrix[cut:])]
    runs = best_path(stretches, price, outside=(0,))
    assert [runs[0][0], runs[-1][1]] == [0, len(matrix)]
    path = [answer[0] for begin, end, answer in runs for _ in range(begin, end)]
    assert len(path) == len(matrix)
    assert worth(path, matrix, price) == max(worth(p, matrix, price) for p in product(range(3), repeat=len(matrix)))


def test_an_answer_that_is_no_longer_possible_is_left():
    first = Stretch(0, [(0,), (1,)], np.array([[0.0, 5.0]] * 4))
    second = Stretch(4, [(0,)], np.zeros((3, 1)))
    assert best_path([first, second], 2.0, outside=(0,)) == [(0, 4, (1,)), (4, 7, (0,))]


def test_no_time_has_no_path():
    assert best_path([], 1.0, outside=(0,)) == []
    assert best_path([Stretch(0, [(0,)], np.zeros((0, 1)))], 1.0, outside=(0,)) == []


@pytest.mark.parametrize(
    ("spans", "others", "joined"),
    [
        ([], [], []),
        ([(0, 1), (1.2, 2)], [], [(0, 2)]),
        ([(0, 1), (1.4, 2)], [], [(0, 1), (1.4, 2)]),
        ([(0, 1), (1.2, 2)], [(1.05, 1.15)], [(0, 1), (1.2, 2)]),  # somebody else spoke in the pause
        ([(0, 1), (1.2, 2), (2.3, 3)], [(0, 1)], [(0, 3)]),  # overlap outside the pause does not matter
    ],
)
def test_short_pauses_belong_to_the_turn(spans, others, joined):
    found = without_pauses([Span(*s) for s in spans], [Span(*s) for s in others], longest=0.3)
    assert [(s.start, s.end) for s in found] == joined


@pytest.mark.parametrize(
    ("span", "speech", "others", "fitted"),
    [
        ((1, 2), [], [], (1, 2)),
        ((1, 2), [(0.9, 2.15)], [], (0.9, 2.15)),  # grows
        ((1, 2), [(1.1, 1.85)], [], (1.1, 1.85)),  # shrinks
        ((1, 2), [(0.7, 2.3)], [], (1, 2)),  # too far
        ((1, 2), [(0.9, 2.1)], [(0.5, 0.95)], (1, 2.1)),  # not into another's turn
        ((0.05, 4.95), [(0, 6)], [], (0, 4.95)),
        ((0.1, 4.95), [(-0.05, 5.1)], [], (0, 5)),  # not beyond the track
        ((1, 1.1), [(0.5, 1.05), (1.06, 3)], [], (1.06, 1.1)),
    ],
)
def test_edges_are_fitted_to_the_speech(span, speech, others, fitted):
    found = fitted_edges(Span(*span), Span(0, 5), [Span(*s) for s in speech], [Span(*s) for s in others], reach=0.2)
    assert (found.start, found.end) == fitted
