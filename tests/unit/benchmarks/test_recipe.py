"""The reference recipe does what its sources say, where that can be said of a few numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from asd_core.media.probe import probe
from benchmarks.recipe import RecipeTrack, _crop, frames_at_25, link, score
from tests import worlds


def box(x, y=0, size=100):
    return np.array([x, y, x + size, y + size], np.float32)


def test_a_face_is_followed_from_box_to_box_at_most_ten_frames_apart():
    frames = [[(n, box(n))] if n < 20 or n >= 29 else [] for n in range(50)]
    ((first, boxes),) = link(frames)
    assert (first, len(boxes)) == (0, 50)
    assert np.allclose(boxes[25], box(25))
    wider = [[(n, box(n))] if n < 20 or n >= 30 else [] for n in range(50)]
    assert [(first, len(boxes)) for first, boxes in link(wider)] == [(0, 20), (30, 20)]


def test_ten_boxes_are_no_track_and_eleven_are():
    assert link([[(n, box(0))] for n in range(10)]) == []
    assert len(link([[(n, box(0))] for n in range(11)])) == 1


def test_two_faces_are_two_tracks_and_a_jump_parts_one():
    two = link([[(n, box(0)), (n, box(400))] for n in range(20)])
    assert sorted(float(boxes[0, 0]) for _, boxes in two) == [0, 400]
    assert [len(boxes) for _, boxes in link([[(n, box(0 if n < 20 else 60))] for n in range(40)])] == [20, 20]


def test_the_crop_is_the_lower_face():
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[240:360] = 200  # the square seen has a side of 70 and its middle at row 220: white begins at 55 / 70 of it
    crop = _crop(picture, 200, 200, 50)
    assert crop.shape == (112, 112)
    assert crop[:86].max() == 0
    assert crop[92:].min() == 200


def test_outside_the_picture_is_grey():
    crop = _crop(np.zeros((100, 100, 3), np.uint8), 0, 50, 40)
    assert (crop[:, :40] == 110).all()


class _Counting:
    """A speaking network that answers with the place in its window."""

    def visual(self, crops):
        return np.zeros((1, crops.shape[1], 2), np.float32)

    def audio(self, rows):
        return np.zeros((1, rows.shape[1] // 4, 2), np.float32)

    def head(self, audio, visual):
        assert audio.shape == visual.shape
        return np.arange(audio.shape[1], dtype=np.float32)[None]


def test_windows_of_one_to_six_seconds_have_one_vote_each():
    scores = score(np.zeros((200, 112, 112), np.uint8), np.zeros(200 * 640, np.int16), _Counting())
    assert len(scores) == 199  # the last frame of a track has no four rows
    at = 160
    assert scores[at] == pytest.approx(np.mean([at % (25 * s) for s in range(1, 7)]), abs=0.051)


def test_without_sound_there_are_no_scores():
    assert len(score(np.zeros((50, 112, 112), np.uint8), np.zeros(0, np.int16), _Counting())) == 0


def test_speech_is_where_the_mean_of_five_is_above_nought():
    track = RecipeTrack(50, np.zeros((10, 4)), np.array([-1, -1, -1, -1, -1, 4, 4, 4, 4, 4.0]))
    assert track.speaking() == [(2.16, 2.4)]


def test_frames_are_repeated_and_dropped_on_the_clock(tmp_path):
    for make in (worlds.film_rate, worlds.late_sound):
        world = make(tmp_path)
        lit = np.array([picture.mean() > 130 for picture in frames_at_25(world.path, probe(world.path))])
        begins = np.nonzero(np.diff(lit.astype(int)) == 1)[0] + 1
        assert len(begins) == len(world.flashes)
        assert np.abs(begins / 25 - world.flashes).max() <= 0.061
        assert abs(len(lit) - world.duration * 25) <= 1


def test_a_file_without_picture_has_no_tracks(tmp_path):
    from benchmarks.recipe import run_recipe

    world = worlds.no_sound(tmp_path)
    blind = SimpleNamespace(
        detector=SimpleNamespace(detect=lambda _: SimpleNamespace(boxes=[], scores=[]), second_look=True, score_threshold=0.5), speaking=_Counting()
    )
    assert run_recipe(world.path, blind) == []
