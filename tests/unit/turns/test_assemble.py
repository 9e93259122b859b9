"""Turns of people: parts over cuts are one turn, voices out of sight keep their ids."""

import numpy as np

from asd_core.records import People, Person, Span, TrackTurns, TurnPart
from asd_core.turns.assemble import assemble
from asd_core.turns.offscreen import name_voices


def person(name, *tracks):
    return Person(name, tracks, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), 0.0, (0, 0, 1, 1), True)


def spoken(*parts, off=(), voice=()):
    parts = tuple(TurnPart(start, end, track) for start, end, track, _ in parts), tuple(confidence for *_, confidence in parts)
    return TrackTurns(parts[0], parts[1], tuple(Span(*s) for s in off), tuple(voice), (0.5,) * len(off))


PEOPLE = People((person("p1", "t1", "t3"), person("p2", "t2")), ())


def test_nothing_gives_nothing():
    assert assemble(spoken(), People((), ()), None, 0.0) == ()


def test_a_turn_goes_on_across_a_cut():
    turns = assemble(spoken((0, 2, "t1", 0.9), (2, 3, "t3", 0.6)), PEOPLE, 1, 10.0)
    (turn,) = turns
    assert (turn.start, turn.end, turn.people_id, turn.voice_id, turn.on_screen, turn.audio_track) == (0, 3, "p1", None, True, 1)
    assert [part.track_id for part in turn.parts] == ["t1", "t3"]
    assert abs(turn.confidence - 0.8) < 1e-9


def test_a_turn_over_the_last_instant_ends_with_the_asset():
    (turn,) = assemble(spoken((9.0, 10.04, "t1", 1)), PEOPLE, 1, 10.01)
    assert (turn.start, turn.end, turn.parts[0].end) == (9.0, 10.01, 10.01)


def test_a_pause_across_a_cut_ends_a_turn_from_its_limit_on():
    assert len(assemble(spoken((0, 2, "t1", 1), (2.29, 3, "t3", 1)), PEOPLE, 1, 10.0)) == 1
    assert len(assemble(spoken((0, 2, "t1", 1), (2.3001, 3, "t3", 1)), PEOPLE, 1, 10.0)) == 2


def test_people_have_their_own_turns_and_all_are_sorted():
    turns = assemble(spoken((0, 2, "t1", 1), (1, 4, "t2", 1), (2.1, 5, "t3", 1), off=[(6, 7)], voice=["v1"]), PEOPLE, 1, 10.0)
    assert [(t.start, t.end, t.people_id, t.voice_id, t.on_screen) for t in turns] == [
        (0, 5, "p1", None, True),
        (1, 4, "p2", None, True),
        (6, 7, None, "v1", False),
    ]


def test_a_person_seen_twice_at_once_has_one_turn():
    (turn,) = assemble(spoken((0, 4, "t1", 1), (1, 3, "t3", 1), (4.1, 5, "t3", 1)), PEOPLE, 1, 10.0)
    assert (turn.start, turn.end, len(turn.parts)) == (0, 5, 3)


def test_a_track_of_nobody_is_an_unknown_voice():
    turns = assemble(spoken((0, 1, "t9", 1), (2, 3, "t8", 1), off=[(5, 6)], voice=["v1"]), PEOPLE, 1, 10.0)
    assert [(t.people_id, t.voice_id, t.on_screen) for t in turns] == [(None, "v3", True), (None, "v2", True), (None, "v1", False)]


def test_voices_are_one_only_while_nothing_comes_between():
    spans = [Span(0, 1), Span(1.5, 2), Span(4, 5), Span(5.5, 6)]
    assert name_voices(spans, [], nearest=1.0) == ("v1", "v1", "v2", "v2")
    assert name_voices(spans, [TurnPart(1.1, 1.4, "t1")], nearest=1.0) == ("v1", "v2", "v3", "v3")
    assert name_voices([], [], nearest=1.0) == ()
