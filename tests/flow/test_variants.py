"""One clip in many technical guises gives the same turns; what a container shifts is shifted, and nothing else."""

from __future__ import annotations

import json

import pytest

from asd_core.analysis import analyse_clip
from benchmarks.variant_clock import lateness
from benchmarks.variants import ALTERED, BASE, SHIFTED, Answer, Face, Said, answer_of, compare, worst_face
from benchmarks.variants_page import WANTED

SAMPLE = (  # of all that `make variants` compares
    "audio_51_speech_in_centre.mkv",
    "interlaced_50i.ts",
    "rotated_display_matrix.mp4",
    "start_offset_5s.mkv",
    "vfr.mp4",
    "vp9_opus.webm",
)
LEFT, RIGHT = (0.3, 0.4), (0.7, 0.4)


@pytest.fixture(scope="module")
def answers(networks, media):
    """What the line says of the base and of the sample, by file name."""
    return {name: answer_of(analyse_clip(media / "clips" / "derived" / name, networks)) for name in (BASE, *SAMPLE)}


@pytest.mark.media
def test_the_same_picture_and_sound_give_the_same_turns(answers):
    differences = {name: compare(answers[BASE], answers[name]) for name in SAMPLE}
    assert len(answers[BASE].turns) >= 2
    assert {name: found for name, found in differences.items() if found.lost} == {}
    near, edges = (sum(getattr(found, name) for found in differences.values()) for name in ("near", "edges"))
    assert near / edges >= WANTED, differences


@pytest.mark.media
def test_faces_stand_where_they_stood(answers):
    assert {name: iou for name in SAMPLE if (iou := worst_face(answers[BASE], answers[name])) < 0.9} == {}


@pytest.mark.media
@pytest.mark.parametrize("name", sorted(SHIFTED))
def test_a_container_shifts_what_it_shifts(media, name):
    folder = media / "clips" / "derived"
    assert lateness(folder / BASE, folder / name) == pytest.approx(SHIFTED[name], abs=0.01)


@pytest.mark.media
def test_every_shift_that_the_manifest_tells_of_is_known(media):
    entries = json.loads((media / "manifest.json").read_text())["derived"]
    told = {entry["file"].rpartition("/")[2] for entry in entries if "timing" in entry and "truth counts" not in entry["timing"]}
    assert told == set(SHIFTED)
    assert set(ALTERED) < {entry["file"].rpartition("/")[2] for entry in entries}


def answer(*turns, seen=(0.0, 10.0), faces=()):
    return Answer(10.0, seen, tuple(Said(*turn) for turn in turns), tuple(faces), ())


def test_a_turn_of_somebody_else_is_missing_here_and_added_there():
    found = compare(answer((0.0, 4.0, LEFT), (4.0, 8.0, RIGHT)), answer((0.05, 4.0, LEFT), (4.0, 8.0, LEFT)))
    assert (found.moves, found.near, found.edges, found.lost) == ((0.05, 0.0), 2, 6, 2)


def test_a_turn_broken_in_two_costs_the_smaller_half():
    found = compare(answer((0.0, 8.0, LEFT)), answer((0.0, 6.0, LEFT), (6.6, 8.0, LEFT)))
    assert found.moves == (0.0, -2.0)
    assert [(turn.start, turn.end) for turn in found.added] == [(6.6, 8.0)]


def test_short_turns_may_come_and_go():
    found = compare(answer((0.0, 8.0, LEFT)), answer((0.0, 8.0, LEFT), (9.0, 9.3, None)))
    assert (found.lost, found.near, found.edges) == (0, 2, 4)


def test_a_voice_out_of_sight_is_nobody_on_screen():
    assert compare(answer((1.0, 3.0, None)), answer((1.0, 3.0, LEFT))).lost == 2
    assert compare(answer((1.0, 3.0, None)), answer((1.0, 3.0, None))).near == 2


def test_shifted_turns_end_with_the_picture_on_screen_and_with_the_sound_off_screen():
    source = answer((0.0, 9.0, LEFT), (9.0, 9.8, None))
    later = answer((0.5, 9.2, LEFT), (9.5, 10.0, None), seen=(0.0, 9.2))
    assert compare(source, later, later=0.5).moves == (0.0, 0.0, 0.0, 0.0)


def test_nothing_said_equals_nothing_said():
    found = compare(answer(), answer())
    assert (found.edges, found.near, found.lost) == (0, 0, 0)


def test_a_face_is_found_again_after_the_pictures_shift():
    boxes = tuple((0.1 + 0.001 * k, 0.1, 0.3 + 0.001 * k, 0.4) for k in range(50))
    source, later = answer(faces=[Face(0, boxes)]), answer(faces=[Face(10, boxes)])
    assert worst_face(source, later, picture=0.4) == pytest.approx(1.0)
    assert worst_face(source, later) < 0.99
    assert worst_face(source, answer()) == 0.0
