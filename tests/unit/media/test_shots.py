import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.media.shots import CUT_REACH, cuts, find_cuts


def scene(seed, count, *, pan=0.0, noise=1.5):
    """(count, 36, 64) float pictures of one place, the camera moving by `pan` pixels an instant."""
    generator = np.random.default_rng(seed)
    place = cv2.GaussianBlur(generator.standard_normal((36, 400)).astype(np.float32), (0, 0), 3)
    place = cv2.normalize(place, None, 20, 230, cv2.NORM_MINMAX)
    frames = [cv2.warpAffine(place, np.array([[1, 0, -20 - pan * t], [0, 1, 0]], np.float32), (64, 36)) for t in range(count)]
    return np.stack(frames) + generator.normal(0, noise, (count, 36, 64))


def thumbnails(*stretches):
    return np.clip(np.concatenate(stretches), 0, 255).astype(np.uint8)


def dissolve(left, right, length):
    share = (np.arange(length) + 1)[:, None, None] / (length + 1)
    return np.concatenate([left[:-length], left[-length:] * (1 - share) + right[:length] * share, right[length:]])


def test_nothing_in_nothing_out():
    assert find_cuts(np.zeros((0, 36, 64), np.uint8)) == []
    assert find_cuts(np.zeros((1, 36, 64), np.uint8)) == []


def test_a_hard_cut_is_where_the_new_shot_begins():
    assert find_cuts(thumbnails(scene(1, 40), scene(2, 40), scene(3, 12))) == [40, 80]
    assert cuts(thumbnails(scene(1, 40), scene(2, 40)), 500).tolist() == [540]


def test_a_flash_is_no_cut():
    pictures = scene(1, 60)
    pictures[30:33] = pictures[30:33] * 0.4 + 150
    assert find_cuts(thumbnails(pictures)) == []


@pytest.mark.parametrize("pan", [0.3, 1.0, 2.0])
def test_a_moving_camera_is_no_cut(pan):
    assert find_cuts(thumbnails(scene(4, 100, pan=pan))) == []


def test_a_caption_is_no_cut():
    pictures = scene(5, 80)
    pictures[40:, 28:34, 8:56] = 240
    assert find_cuts(thumbnails(pictures)) == []


def test_a_shot_that_begins_with_a_rush_still_begins():
    assert find_cuts(thumbnails(scene(6, 40), scene(7, 40, pan=2.0))) == [40]


@pytest.mark.parametrize("length", [6, 12, 20])
def test_a_dissolve_is_cut_in_its_middle(length):
    found = find_cuts(thumbnails(dissolve(scene(8, 50), scene(9, 50), length)))
    assert len(found) == 1
    assert found[0] == pytest.approx(50 - length / 2, abs=2)


def test_a_fade_to_black_and_back_is_cut_where_it_is_half_done():
    black = np.full((30, 36, 64), 16.0)
    found = find_cuts(thumbnails(dissolve(dissolve(scene(10, 50), black, 12), scene(11, 50), 12)))
    assert found == pytest.approx([44, 62], abs=2)


def test_light_that_changes_slowly_is_no_cut():
    pictures = scene(12, 80) * np.linspace(0.5, 1.0, 80)[:, None, None]
    assert find_cuts(thumbnails(pictures)) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 399), st.integers(1, 120))
def test_a_decision_depends_on_its_neighbourhood_only(seed, low, length):
    generator = np.random.default_rng(seed)
    stretches = [scene(seed + k, int(generator.integers(3, 70)), pan=float(generator.choice([0, 0.5, 3]))) for k in range(14)]
    mixed = stretches[0]
    for stretch in stretches[1:]:
        room = min(len(mixed), len(stretch), 20) - 1
        mixed = dissolve(mixed, stretch, room) if generator.random() < 0.4 and room > 2 else np.concatenate([mixed, stretch])
    whole = thumbnails(mixed)
    low = min(low, len(whole) - 1)
    high = min(len(whole), low + length)
    begin, stop = max(0, low - CUT_REACH), min(len(whole), high + CUT_REACH)
    part = [begin + k for k in find_cuts(whole[begin:stop]) if low <= begin + k < high]
    assert part == [k for k in find_cuts(whole) if low <= k < high]
