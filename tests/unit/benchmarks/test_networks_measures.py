"""Areas, intervals and what the tables of networks are made of."""

import numpy as np
import pytest

from asd_core.records import Detections
from benchmarks.networks import keeping
from benchmarks.networks.detectors import compare, summary, turned
from benchmarks.networks.embedders import compare_views
from benchmarks.networks.foreign_voices import LEVEL
from benchmarks.networks.measures import area, grouped_area, share_interval, sign_changes
from benchmarks.networks.sounds import STAND_INS


def test_a_tie_is_half_a_win():
    assert area(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)
    assert area(np.zeros(5), np.zeros(7)) == 0.5
    assert np.isnan(area(np.zeros(0), np.ones(3)))


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 9, 40) + 1, rng.integers(0, 9, 30)
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert area(positive, negative) == pytest.approx(np.mean(pairs))


def test_groups_pool_and_bound_the_area():
    rng = np.random.default_rng(1)
    positive, negative = [rng.normal(1, 1, 50 + k) for k in range(6)], [rng.normal(0, 1, 40) for _ in range(6)]
    found = grouped_area(positive, negative)
    assert found.value == pytest.approx(area(np.concatenate(positive), np.concatenate(negative)))
    assert found.low < found.value < found.high
    assert (found.positives, found.negatives) == (315, 240)
    assert grouped_area(positive, negative) == found


def test_an_interval_of_equal_groups_is_a_point():
    assert share_interval(np.array([1.0, 1.0]), np.array([4.0, 4.0])) == (0.25, 0.25)


def test_a_logit_of_zero_is_not_above():
    assert sign_changes(np.array([1.0, 0.0, -1.0, 2.0])) == 2
    assert sign_changes(np.array([])) == 0


# ---- detectors ---------------------------------------------------------------------------------------------------------------

POINTS = np.array([(30, 40), (70, 40), (50, 60), (35, 80), (65, 80)], np.float32)


def faces(*told):
    """Return detections of 100-pixel faces, or of another size, at (x, score) or (x, score, size)."""
    boxes = [(x, 0, x + (size or [100])[0], (size or [100])[0]) for x, _, *size in told]
    points = [POINTS + np.array([x, 0]) for x, *_ in told]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array([s for _, s, *_ in told], np.float32), np.array(points, np.float32).reshape(-1, 5, 2)
    )


def test_a_face_is_found_once_and_a_second_box_on_it_is_not_extra():
    seen = compare(faces((0, 0.9), (300, 0.9)), faces((4, 0.9), (8, 0.7)), 0.5)
    assert np.isfinite(seen.errors).tolist() == [True, False]
    assert seen.errors[0] == pytest.approx(4 / 40)  # a shift of 4 pixels, eyes 40 apart
    assert (seen.boxes, seen.extra) == (2, 0)


def test_doubtful_faces_of_the_reference_excuse_and_are_not_asked_for():
    seen = compare(faces((0, 0.35), (300, 0.25)), faces((0, 0.9), (300, 0.9)), 0.5)
    assert len(seen.sizes) == 0
    assert (seen.boxes, seen.extra) == (2, 1)


def test_small_faces_and_low_scores_do_not_count():
    seen = compare(faces((0, 0.9, 47)), faces((0, 0.9, 40), (300, 0.4)), 0.5)
    assert (len(seen.sizes), seen.boxes, seen.extra) == (0, 0, 0)


def test_nothing_found_and_nothing_there():
    assert np.isnan(compare(faces((0, 0.9)), faces(), 0.5).errors).all()
    assert compare(faces(), faces((0, 0.9)), 0.5).extra == 1


def test_the_nose_tells_how_far_a_face_is_turned():
    assert turned(POINTS) == 0
    assert turned(POINTS + np.array([[0, 0], [0, 0], [20, 0], [0, 0], [0, 0]])) == pytest.approx(1.0)
    assert turned(POINTS[:, ::-1] * np.array([1, -1])) == pytest.approx(0, abs=1e-6)  # lying on its side


def test_marks_are_pooled_over_clips():
    found = compare(faces((0, 0.9)), faces((4, 0.9)), 0.5)
    missed = compare(faces((0, 0.9)), faces((300, 0.9)), 0.5)
    told = summary([[found, found], [missed]])
    assert (told["pictures"], told["faces"], told["boxes"]) == (3, 3, 3)
    assert told["recall"] == pytest.approx(2 / 3)
    assert told["extra"] == pytest.approx(1 / 3)
    assert told["classes"]["96 to 191"]["faces"] == told["classes"]["frontal"]["faces"] == 3
    assert told["classes"]["profile"]["recall"] is None


# ---- embedders ---------------------------------------------------------------------------------------------------------------


def test_one_recording_gives_no_same_pairs_but_different_ones():
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    told = compare_views([("a", "x/t1", one), ("a", "x/t2", one), ("b", "x/t3", other), ("a", "y/t1", one)])
    assert (told["same"], told["different"], told["same_people"]) == (2, 3, 1)
    assert told["area"] == 1.0


# ---- sounds, kept results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["noise", "music"])
def test_stand_ins_are_as_loud_as_voices_and_always_the_same(name):
    made = STAND_INS[name](125)
    assert made.dtype == np.int16
    assert len(made) == 80_000
    assert np.sqrt(np.square(made.astype(float)).mean()) == pytest.approx(LEVEL, rel=0.01)
    assert (STAND_INS[name](125) == made).all()


def test_silence_is_digital():
    assert not STAND_INS["silence"](25).any()


def test_results_are_made_once_and_old_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "OUT", tmp_path)
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3)}

    for key in ("one", "one", "two"):
        assert keeping.kept_arrays("clip.tracks", key, make)["a"].tolist() == [0, 1, 2]
    assert keeping.kept_json("clip.tracks", "one", lambda: {"b": 1}) == {"b": 1}
    assert len(made) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.tracks.one.json", "clip.tracks.two.npz"]


def test_digests_tell_arrays_apart():
    assert keeping.digest(np.zeros(4)) != keeping.digest(np.zeros((2, 2)))
    assert keeping.digest("a", b"b") == keeping.digest("a", b"b") != keeping.digest("a", b"c")
