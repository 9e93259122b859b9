"""Crops frame the lower face as the reference does, steadily and locally."""

import cv2
import numpy as np
import pytest

from asd_core.faces.crop import CROP_SIZE, MEDIAN_REACH, crop_matrix, crop_squares


def walk(count):
    generator = np.random.default_rng(3)
    centres = np.cumsum(generator.normal(0, 3, (count, 2)), axis=0) + 300
    halves = 40 + generator.normal(0, 2, (count, 2))
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


def test_the_square_follows_the_one_step_rule():
    (square,) = crop_squares(np.array([[100, 50, 160, 150]], np.float32))  # longer side 100: half side 50
    np.testing.assert_allclose(square, [130, 100 + 0.4 * 50, 1.4 * 50])


def test_the_middle_equals_a_median_of_thirteen():
    boxes = walk(40)
    squares = crop_squares(boxes)
    middle = (boxes[:, 0].astype(np.float64) + boxes[:, 2]) / 2
    np.testing.assert_allclose(squares[20, 0], np.median(middle[14:27]))


@pytest.mark.parametrize("count", [1, 2, 6, 7, 12, 13, 14, 30])
def test_any_length_gives_a_square_an_instant(count):
    squares = crop_squares(walk(count))
    assert squares.shape == (count, 3)
    assert np.isfinite(squares).all()


def test_no_boxes_give_no_squares():
    assert crop_squares(np.zeros((0, 4), np.float32)).shape == (0, 3)


def test_a_piece_with_its_margin_equals_the_whole():
    boxes = walk(60)
    whole, piece = crop_squares(boxes), crop_squares(boxes[20 - MEDIAN_REACH : 40 + MEDIAN_REACH])
    assert (whole[20:40] == piece[MEDIAN_REACH:-MEDIAN_REACH]).all()


def test_one_bad_box_moves_nothing():
    boxes = np.tile(np.array([100, 100, 200, 200], np.float32), (30, 1))
    bad = boxes.copy()
    bad[15] += 80
    assert (crop_squares(bad) == crop_squares(boxes)).all()


def test_the_crop_shows_the_square_edge_to_edge():
    """Against the reference's way: a padded cut-out of 2.8 half sides, resized to 224, of which the central 112 are kept."""
    picture = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 256, (400, 400)).astype(np.uint8), (0, 0), 5)
    box = np.array([[150, 140, 210, 220]], np.float32)
    ours = cv2.warpAffine(picture, crop_matrix(crop_squares(box)[0]), (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    x, y, s = 180, 180, 40
    cut = picture[y - s : int(y + s * 1.8), int(x - s * 1.4) : int(x + s * 1.4)]
    reference = cv2.resize(cut, (224, 224))[56:168, 56:168]
    assert np.abs(ours.astype(int) - reference).max() <= 2
