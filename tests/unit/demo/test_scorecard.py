import copy

import pytest

from asd_core.demo.scorecard import scorecard, verdict
from asd_core.demo.truth import TrueShot, TrueStill, TrueTurn, Truth

TRUTH = Truth(
    name="made",
    duration=10.0,
    people=("collins", "hopper"),
    turns=(
        TrueTurn(1.0, 3.0, "hopper", on_screen=True),
        TrueTurn(4.0, 4.9, "collins", on_screen=True),
        TrueTurn(6.0, 8.0, "narrator", on_screen=False),
    ),
    shots=(TrueShot(0.0, 5.0, ("hopper", "collins")), TrueShot(5.0, 10.0, ("collins",))),
    stills=(TrueStill(5.0, 10.0, "hopper", (900.0, 60.0, 1130.0, 320.0)),),
)


def track(name, people, start, end, x, y=300.0, *, still=False):
    times = [start + k / 25 for k in range(round((end - start) * 25))]
    return {"id": name, "people_id": people, "still": still, "times": times, "boxes": [[x - 50, y - 60, x + 50, y + 60]] * len(times)}


def turn(start, end, people=None, voice=None):
    return {"start": start, "end": end, "people_id": people, "voice_id": voice, "on_screen": people is not None}


@pytest.fixture
def document():
    return {
        "tracks": [
            track("t1", "p1", 0, 5, 320),
            track("t2", "p2", 0, 5, 960),
            track("t3", "p2", 5, 10, 560),
            track("t4", "p3", 5, 10, 1000, 180, still=True),
        ],
        "people": [{"id": "p1", "person_id": "H"}, {"id": "p2", "person_id": "C"}, {"id": "p3", "person_id": None}],
        "turns": [turn(1.1, 2.9, "p1"), turn(3.9, 5.0, "p2"), turn(6.2, 8.1, voice="v1")],
    }


def test_a_good_answer(document):
    card = scorecard(TRUTH, document)
    assert (card.edges, card.edges_within, card.missed, card.extra_turns) == (6, 6, (), ())
    assert card.people == {"collins": ("C",), "hopper": ("H",)}
    assert card.persons_exact
    assert verdict([card, card]).passed


def test_late_missing_and_invented_turns_count(document):
    document["turns"][0]["start"] = 1.4
    document["turns"][1] = turn(9.0, 9.5, "p2")
    card = scorecard(TRUTH, document)
    assert card.edges_within == 3
    assert len(card.missed) == 3
    assert len(card.extra_turns) == 1
    assert card.edge_share == 3 / 8
    assert not verdict([card]).passed


def test_the_wrong_face_is_no_answer(document):
    document["turns"][0]["people_id"] = "p2"
    assert scorecard(TRUTH, document).edges_within == 4


def test_a_photograph_that_becomes_a_person_is_a_stranger(document):
    document["people"][2]["person_id"] = "X"
    assert not scorecard(TRUTH, document).persons_exact
    moving = copy.deepcopy(document)
    moving["people"][2]["person_id"] = None
    moving["tracks"][3]["still"] = False
    assert scorecard(TRUTH, moving).strangers == ("p3",)


def test_one_person_under_two_ids_in_two_episodes_is_not_exact(document):
    other = copy.deepcopy(document)
    other["people"][0]["person_id"] = "H2"
    cards = [scorecard(TRUTH, document), scorecard(TRUTH, other)]
    assert all(card.persons_exact for card in cards)
    assert not verdict(cards).persons_exact
    assert verdict(cards).persons == {"collins": ("C",), "hopper": ("H", "H2")}


def test_nothing_found_is_nothing_right():
    card = scorecard(TRUTH, {"tracks": [], "people": [], "turns": []})
    assert (card.edges_within, card.persons_exact) == (0, False)
