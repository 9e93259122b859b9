"""Sounds made for a face: band energies give the line's own cepstra, labels fit the sounds, own and foreign are treated alike."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: make train-setup")

from asd_core.speech.mfcc import mfcc_rows
from training.speaking.data import SAMPLES, Clips, Writer, mfcc_of, sound_bands
from training.speaking.evaluate import area, average_precision, calibrated
from training.speaking.faces import plain, shown
from training.speaking.portraits import LENGTH, draw
from training.speaking.sounds import FOREIGN, SETS, Mixer, Pool, judged, music, noise


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    writer = Writer(tmp_path, 4 * 120, ("frames", "sound", "bands", "label", "vad"))
    for number in range(4):
        sound = (rng.standard_normal(120 * SAMPLES) * 1000 * (1 + number)).astype(np.int16)
        writer.add(
            f"clip{number}", f"person{number}", "talk", number == 3, 1.0, frames=np.zeros((120, 176, 176), np.uint8),
            sound=sound.reshape(120, SAMPLES), bands=sound_bands(sound, 120), label=np.ones(120, np.int8), vad=np.ones(120, np.float32),
        )  # fmt: skip
    writer.finish()
    return Clips(tmp_path)


@pytest.mark.parametrize("make", [noise, music])
def test_bands_give_the_lines_own_cepstra(make):
    sound = make(np.random.default_rng(1), 50)
    np.testing.assert_allclose(mfcc_of(sound_bands(sound, 50)), mfcc_rows(sound, 200), atol=2e-3)


def test_each_sound_has_rows_and_labels(clips):
    rng = np.random.default_rng(2)
    pool = Pool(clips, held_out=False)
    face = pool.draw(50, rng)
    own = np.ones(50, np.int8)
    mixer = Mixer(pool, rng)
    for _ in range(10):
        rows, labels = mixer.sounds(face, own, treated=True)
        assert rows.shape == (len(SETS), 200, 13) and np.isfinite(rows).all()
        assert (labels[0] == 1).all()
        assert (labels[FOREIGN][:2] == 0).all() and (labels[5] == 0).all()
    untouched, _ = mixer.sounds(face, own, treated=False)
    np.testing.assert_array_equal(untouched[0], mfcc_of(face["bands"]))


def test_held_out_people_are_never_drawn(clips):
    rng = np.random.default_rng(3)
    pool = Pool(clips, held_out=False)
    assert {pool.draw(30, rng).clip.person for _ in range(40)} == {"person0", "person1", "person2"}
    assert pool.draw(121, rng) is None
    assert all(pool.draw(30, rng, other_than="person0").clip.person != "person0" for _ in range(20))


def test_level_does_not_tell_own_sound_from_foreign(clips):
    """The people of this test are white noise at four levels: own and foreign sound must come out equally loud."""
    rng = np.random.default_rng(4)
    pool = Pool(clips, held_out=False)
    mixer = Mixer(pool, rng)
    loudness = np.array([mixer.sounds(pool.draw(25, rng), np.ones(25, np.int8), treated=True)[0][:, :, 0].mean(1) for _ in range(150)])
    assert area(loudness[:, 0], loudness[:, 2]) == pytest.approx(0.5, abs=0.08)


def test_edges_are_not_judged():
    assert judged(np.array([0, 0, 0, 1, 1, 1, 1], np.int8)).tolist() == [0, -1, -1, -1, -1, 1, 1]


def test_shown_crops_are_those_of_the_line_but_for_the_jitter():
    frames = np.tile(np.linspace(0, 255, 176, dtype=np.uint8), (5, 176, 1))
    assert plain(frames).shape == (5, 112, 112)
    means = [shown(frames, np.random.default_rng(seed)).mean() for seed in range(40)]
    assert np.mean(means) == pytest.approx(plain(frames).mean(), rel=0.1)


def test_a_portrait_speaks_only_with_a_voice():
    rng = np.random.default_rng(5)
    chip = rng.integers(0, 255, (112, 112, 3), np.uint8)
    voice = np.sin(np.arange(LENGTH * SAMPLES) / 9).astype(np.float32) * 0.2
    voice[: 60 * SAMPLES] = 0
    frames = draw(chip, voice, rng).astype(float)
    assert frames.shape == (LENGTH, 176, 176)
    lower = frames[:, 120:165, 50:126]
    assert lower[80:].std(axis=(1, 2)).std() >= 0 and np.abs(lower[90] - lower[30]).mean() > np.abs(lower[31] - lower[30]).mean()


def test_measures():
    assert area(np.array([2.0, 3]), np.array([0.0, 1])) == 1
    assert area(np.array([1.0]), np.array([1.0])) == 0.5
    assert average_precision(np.array([3.0, 2, 1, 9]), np.array([1, 0, 1, -1])) == pytest.approx((1 + 2 / 3) / 2)
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 3, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(2 * logits - 1)))).astype(np.int8)
    assert calibrated(logits, labels, np.ones(len(logits))) == pytest.approx((2, -1), rel=0.15)
