"""Chips bring the five points onto the template, worse ones are worth less, and the kept ones spread over time."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.faces.align import align_matrix, chip_quality, chip_sharpness, chip_worth, thin_chips
from asd_core.geometry import ARCFACE_TEMPLATE
from asd_core.records import Chips

FRONTAL = ARCFACE_TEMPLATE.astype(np.float32)
BOX = np.array([20, 10, 92, 110], np.float32)


def turned(points, degrees, scale, shift):
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ rotation.T * scale + shift).astype(np.float32)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (30, 0.4), (-75, 3), (180, 2)])
def test_points_land_on_the_template(degrees, scale):
    """Positions of any turn and size: a point at position p is the pixel index p - 0.5, on both sides of the map."""
    points = turned(ARCFACE_TEMPLATE, degrees, scale, (400, 300))
    matrix = align_matrix(points)
    np.testing.assert_allclose((points - 0.5) @ matrix[:, :2].T + matrix[:, 2], ARCFACE_TEMPLATE - 0.5, atol=1e-3)


def test_a_chip_is_never_mirrored():
    assert np.linalg.det(align_matrix(FRONTAL[[1, 0, 2, 4, 3]])[:, :2]) > 0


def test_worth_falls_with_size_turn_and_score():
    best = chip_worth(BOX * 2, FRONTAL * 2, 0.9)
    assert best == pytest.approx(0.9, abs=0.01)
    assert chip_worth(BOX * 0.3, FRONTAL * 0.3, 0.9) < 0.6 * best
    assert chip_worth(BOX * 0.1, FRONTAL * 0.1, 0.9) == 0
    assert chip_worth(BOX * 2, FRONTAL * 2, 0.6) < best
    profile = FRONTAL.copy()
    profile[2, 0] += 25  # the nose far to one side of the eyes
    profile[[0, 1], 0] = (60, 70)
    assert chip_worth(BOX * 2, profile * 2, 0.9) < 0.6 * best


def test_quality_falls_with_blur_and_never_exceeds_the_worth():
    texture = np.random.default_rng(5).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    chip = cv2.resize(texture, (112, 112), interpolation=cv2.INTER_CUBIC)
    qualities = [chip_quality(0.8, chip if sigma == 0 else cv2.GaussianBlur(chip, (0, 0), sigma)) for sigma in (0, 1, 2, 4)]
    assert qualities == sorted(qualities, reverse=True)
    assert 0 < qualities[-1] < qualities[0] < 0.8
    assert chip_sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


def test_light_does_not_change_sharpness():
    chip = np.random.default_rng(6).integers(0, 200, (112, 112, 3)).astype(np.uint8)
    assert chip_sharpness(chip // 2) == pytest.approx(chip_sharpness(chip), rel=0.02)


def chips(times, quality):
    count = len(times)
    return Chips(np.array(times, np.float64), np.zeros((count, 4), np.float32), np.array(quality, np.float32))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20)), max_size=40, unique_by=lambda row: row[0]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_the_best_first_and_ignores_order(rows, random):
    given_chips = chips([row[0] / 5 for row in rows], [row[1] / 20 for row in rows])
    thin = thin_chips(given_chips, most=10)
    assert len(thin) == min(10, len(rows))
    assert (np.diff(given_chips.quality[thin]) <= 0).all()
    mixed = random.sample(rows, len(rows))
    mixed_chips = chips([row[0] / 5 for row in mixed], [row[1] / 20 for row in mixed])
    assert given_chips.times[thin].tolist() == mixed_chips.times[thin_chips(mixed_chips, most=10)].tolist()
    if rows:
        assert given_chips.quality[thin[0]] == given_chips.quality.max()


def test_thinning_spreads_over_time():
    """Ten excellent neighbours do not crowd out the rest of a long track."""
    crowd = chips([*np.arange(10) / 10, *range(10, 100, 10)], [0.9] * 10 + [0.5] * 9)
    assert (crowd.times[thin_chips(crowd, most=10)] >= 10).sum() == 9
