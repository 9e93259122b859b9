"""Who of the visible speaks when: scenes with a known answer."""

import numpy as np
import pytest

from asd_core.records import Scores
from asd_core.speech.listen import no_sound
from asd_core.turns.decide import TurnOptions, decide
from tests.unit.turns.made_scene import scores, sound, steps, track


def said(turns):
    return [(part.track_id, round(part.start * 25), round(part.end * 25)) for part in turns.on_screen]


def unseen(turns):
    return [(round(span.start * 25), round(span.end * 25)) for span in turns.off_screen]


def test_one_talker_in_her_pause_and_in_her_speech():
    turns = decide([track("t1", 0, 300)], scores(steps((100, 0.02), (100, 0.95), (100, 0.02))), sound(300, (102, 200)))
    assert said(turns) == [("t1", 102, 200)]
    assert unseen(turns) == []
    assert turns.confidence[0] > 0.9


def test_no_sound_no_turns():
    turns = decide([track("t1", 0, 100)], scores(np.full(100, 0.99)), no_sound())
    assert turns == decide([], Scores((), ()), no_sound())
    assert turns.on_screen == turns.off_screen == ()


def test_lips_without_a_voice_are_no_turn():
    assert said(decide([track("t1", 0, 200)], scores(np.full(200, 0.99)), sound(200, (150, 200)))) == [("t1", 150, 200)]
    assert said(decide([track("t1", 0, 200)], scores(np.full(200, 0.99)), sound(200))) == []


def test_a_voice_without_a_face_is_off_screen():
    turns = decide([], Scores((), ()), sound(200, (20, 80)))
    assert said(turns) == []
    assert unseen(turns) == [(20, 80)]
    assert turns.voice == ("v1",)


def test_a_listener_leaves_the_voice_off_screen():
    turns = decide([track("t1", 0, 200)], scores(np.full(200, 0.02)), sound(200, (20, 180)))
    assert said(turns) == []
    assert unseen(turns) == [(20, 180)]


def test_two_faces_one_voice_one_speaker():
    turns = decide([track("t1", 0, 200), track("t2", 0, 200)], scores(np.full(200, 0.95), np.full(200, 0.75)), sound(200, (0, 200)))
    assert said(turns) == [("t1", 0, 200)]


def test_two_who_are_both_clearly_talking_overlap():
    turns = decide([track("t1", 0, 300), track("t2", 0, 300)], scores(np.full(300, 0.995), steps((100, 0.005), (200, 0.995))), sound(300, (0, 300)))
    assert {name for name, _, _ in said(turns)} == {"t1", "t2"}
    assert said(turns)[0] == ("t1", 0, 300)


def test_a_talker_keeps_the_turn_through_a_weak_stretch():
    weak = steps((60, 0.95), (20, 0.3), (60, 0.95))
    assert said(decide([track("t1", 0, 140)], scores(weak), sound(140, (0, 140)))) == [("t1", 0, 140)]


def test_the_turn_goes_from_one_to_the_other():
    first, second = steps((100, 0.95), (100, 0.05)), steps((100, 0.05), (100, 0.95))
    turns = decide([track("t1", 0, 200), track("t2", 0, 200)], scores(first, second), sound(200, (0, 200)))
    assert said(turns) == [("t1", 0, 100), ("t2", 100, 200)]


def test_a_turn_ends_with_its_track_and_the_voice_goes_on():
    turns = decide([track("t1", 0, 100)], scores(np.full(100, 0.95)), sound(200, (0, 200)))
    assert said(turns) == [("t1", 0, 100)]
    assert unseen(turns) == [(100, 200)]


def test_a_still_face_never_speaks():
    turns = decide([track("t1", 0, 100, still=True)], scores(np.full(100, 0.99)), sound(100, (0, 100)))
    assert said(turns) == []
    assert unseen(turns) == [(0, 100)]


def test_a_track_may_outlast_the_sound():
    turns = decide([track("t1", 0, 200)], scores(np.full(200, 0.95)), sound(100, (0, 100)))
    assert said(turns) == [("t1", 0, 100)]


@pytest.mark.parametrize("smoothing", ["off", "low", "high"])
def test_presets_differ_in_patience(smoothing):
    flicker = np.where(np.arange(200) // 4 % 2, 0.9, 0.2)
    turns = decide([track("t1", 0, 200)], scores(flicker), sound(200, (0, 200)), TurnOptions.preset(smoothing))
    assert {"off": len(turns.on_screen) > 10, "low": len(turns.on_screen) <= 3, "high": said(turns) == [("t1", 0, 200)]}[smoothing]


def test_a_crowd_is_no_trouble():
    crowd = [track(f"t{i}", 0, 50) for i in range(60)]
    odds = [np.full(50, 0.9 if i == 17 else 0.05) for i in range(60)]
    assert said(decide(crowd, scores(*odds), sound(50, (0, 50)))) == [("t17", 0, 50)]
