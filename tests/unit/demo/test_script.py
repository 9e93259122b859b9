from itertools import pairwise

import pytest

from asd_core.demo.script import PLAYS, Line, Scene, stage_play
from asd_core.timeline import GRID_HZ


@pytest.fixture(scope="module", params=sorted(PLAYS))
def staged(request):
    return stage_play(request.param, PLAYS[request.param], seed=0, speaker="formants-1")


def test_an_episode_lasts_as_long_as_promised(staged):
    assert 13 < staged.truth.duration < 30
    assert staged.frames == round(staged.truth.duration * GRID_HZ)


def test_shots_follow_each_other_without_a_gap(staged):
    shots = staged.truth.shots
    assert shots[0].start == 0
    assert shots[-1].end == staged.truth.duration
    assert all(a.end == b.start for a, b in pairwise(shots))
    assert [round(shot.start * GRID_HZ) for shot in shots] == list(staged.first_frames)


def test_turns_lie_apart_unless_a_cut_parts_them(staged):
    cuts = {shot.start for shot in staged.truth.shots}
    assert all(b.start - a.end >= 0.7 or (b.start == a.end and b.start in cuts) for a, b in pairwise(staged.truth.turns))


def test_who_is_on_screen_is_in_the_shot(staged):
    for turn in staged.truth.turns:
        for shot in staged.truth.shots:
            if min(turn.end, shot.end) > max(turn.start, shot.start):
                assert turn.on_screen == (turn.speaker in shot.people)


def test_the_plays_hold_what_they_are_for():
    layouts = {scene.layout for play in PLAYS.values() for scene in play}
    assert layouts == {"single", "wall", "split", "title"}
    truths = [stage_play(name, play, seed=0, speaker="formants-1").truth for name, play in PLAYS.items()]
    turns = [turn for truth in truths for turn in truth.turns]
    assert any(turn.speaker == "narrator" and not turn.on_screen for turn in turns)
    assert any(turn.speaker == "hopper" and not turn.on_screen for turn in turns)
    assert any(truth.stills and truth.stills[0].shows not in truth.people for truth in truths)
    assert {person for truth in truths for person in truth.people} == {"collins", "hopper"}


def test_a_voice_runs_on_over_a_cut():
    play = (Scene("single", ("hopper",), (Line("hopper", 0.5, 10),), cut=1.0), Scene("title", (), tail=1.0))
    truth = stage_play("x", play, seed=1, speaker="formants-1").truth
    assert [(turn.on_screen, turn.speaker) for turn in truth.turns] == [(True, "hopper"), (False, "hopper")]
    assert truth.turns[0].end == truth.turns[1].start == truth.shots[1].start
    assert truth.duration >= truth.turns[1].end + 0.9
