"""Per instant, faces share one voice with somebody out of sight."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asd_core.turns.compete import NOBODY, OUT_OF_SIGHT, Company, answers, companies, emissions, log_odds, share_of_voice


def test_companies_change_where_faces_come_and_go():
    assert companies([(0, 2, 5), (1, 4, 8), (2, 5, 5)], 10) == [
        Company(0, 2, ()),
        Company(2, 4, (0,)),
        Company(4, 5, (0, 1)),
        Company(5, 8, (1,)),
        Company(8, 10, ()),
    ]
    assert companies([], 3) == [Company(0, 3, ())]
    assert companies([], 0) == []


def test_answers_of_an_empty_picture():
    assert answers([], np.zeros(0)) == [NOBODY, OUT_OF_SIGHT]


def test_only_the_strongest_faces_may_speak_together():
    pairs = [answer for answer in answers(range(10), np.arange(10.0)) if len(answer) == 2]
    assert pairs == [(6, 7), (6, 8), (6, 9), (7, 8), (7, 9), (8, 9)]


@pytest.mark.parametrize(
    ("voice", "lips", "winner"),
    [
        (3, [2, -2], (0,)),
        (3, [-2, -2], OUT_OF_SIGHT),
        (-5, [2, -2], NOBODY),
        (3, [4, 2.5], (0,)),  # both positive: one voice, one speaker
        (3, [4, 3.5], (0, 1)),  # both clearly high
        (3, [], OUT_OF_SIGHT),
        (-3, [], NOBODY),
    ],
)
def test_the_best_answer_of_an_instant(voice, lips, winner):
    faces = list(range(len(lips)))
    possible = answers(faces, np.array(lips, float))
    table = emissions(np.array([voice], float), np.array([lips], float).reshape(1, -1), faces, possible, rival=0.0, overlap=3.0)
    assert possible[int(table[0].argmax())] == winner


@given(arrays(np.float64, (7, 3), elements=st.floats(-15, 15)))
def test_shares_are_a_distribution_with_room_for_somebody_else(evidence):
    shares = share_of_voice(evidence, rival=0.0)
    assert (shares >= 0).all()
    assert (shares.sum(axis=1) <= 1 + 1e-9).all()
    assert (share_of_voice(evidence[:, :1], rival=0.0)[:, 0] >= shares[:, 0] - 1e-12).all()  # company never helps


def test_log_odds_are_bounded():
    assert log_odds(np.array([0, 0.5, 1], np.float32)).tolist() == [-15, 0, 15]
