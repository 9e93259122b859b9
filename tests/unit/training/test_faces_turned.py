"""Faces turned aside: how far one is, and what turning does to a picture."""

import numpy as np
import pytest

from training.faces import prepare
from training.faces.prepare import Faces, Picture, aside, turned_pictures
from training.faces.turn import look_aside

FRONTAL = np.array([[40, 50], [60, 50], [50, 62], [42, 72], [58, 72]], np.float32)


def test_aside_of_no_face_of_a_frontal_one_and_of_a_profile():
    profile = FRONTAL.copy()
    profile[2, 0] = 62  # the nose beyond the right eye
    assert aside(np.zeros((0, 5, 2), np.float32)).shape == (0,)
    assert aside(np.stack([FRONTAL, profile])) == pytest.approx([0.0, 0.6])
    assert aside(profile[None] * 3 + 7) == pytest.approx([0.6])  # size and place do not matter


def test_a_face_looks_aside_and_the_rest_of_the_picture_stays():
    rng = np.random.default_rng(5)
    before = rng.integers(0, 256, (200, 160, 3), dtype=np.uint8)
    before[55:70, 48:53] = 255  # the nose
    for angle in (-0.8, 0.8):
        after = before.copy()
        look_aside(after, FRONTAL, angle)
        changed = np.flatnonzero((after != before).any(axis=(0, 2)))
        assert len(changed) and changed[0] >= 10 and changed[-1] <= 90
        assert (after[:, 100:] == before[:, 100:]).all() and (after[140:] == before[140:]).all()
        white = np.flatnonzero((after[60:64] > 250).all(axis=2).sum(axis=0) >= 3)
        assert np.sign(white.mean() - 50) == np.sign(angle)  # the nose goes where the face looks


def test_at_the_edge_of_a_picture_nothing_breaks():
    picture = np.full((60, 50, 3), 90, np.uint8)
    look_aside(picture, FRONTAL - np.float32([35, 45]), 1.0)
    assert (picture == 90).all()


def test_a_turned_face_that_the_teacher_does_not_see_is_neither_face_nor_background(monkeypatch):
    monkeypatch.setattr(prepare, "label", lambda *_: Faces(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32)))
    jpeg = prepare.cv2.imencode(".jpg", np.full((120, 120, 3), 128, np.uint8))[1].tobytes()
    faces = Faces(np.array([[30, 30, 70, 85]], np.float32), FRONTAL[None], np.array([0.9], np.float32))
    made = list(turned_pictures([Picture("a", "scene", jpeg, faces)], 2, None, np.random.default_rng(1)))
    assert [picture.name for picture in made] == ["a aside 0", "a aside 1"]
    assert all(picture.faces.scores.tolist() == [pytest.approx(prepare.UNSEEN)] for picture in made)
    small = Faces(faces.boxes, FRONTAL[None] * np.float32(0.5), faces.scores)
    assert not list(turned_pictures([Picture("a", "scene", jpeg, small)], 2, None, np.random.default_rng(1)))
