"""The measure of voices: material, pairs and rates: whose sound counts, who is left out, what an equal error rate is."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: make train-setup")

from training.people import held_out
from training.speaking.data import SAMPLES, Clips, Writer, sound_bands
from training.voice.__main__ import learns_from
from training.voice.data import BANDS, Voices, rows_under, spoken, third
from training.voice.evaluate import MOST, Stretches, by_spectrum, equal_error, in_one_recording, measure
from training.voice.linear import Discriminant, together

NAMES = [f"person{number}" for number in range(12)]


@pytest.fixture
def voices(tmp_path):
    rng = np.random.default_rng(0)
    shape = rng.gamma(2, 1000, (len(NAMES), 1, BANDS))
    rows = (shape * rng.gamma(2, 1, (len(NAMES), 600, BANDS))).reshape(-1, BANDS).astype(np.float32)
    told = []
    for number, name in enumerate(NAMES):
        span = (600 * number, 600 * number + 600)
        told.append({"track": f"t{number}", "person": name, "recording": f"r{number}", "source": "s", "spans": [span] * 3, "pauses": span})
    np.save(tmp_path / "speech.npy", rows)
    np.save(tmp_path / "pauses.npy", rows)
    (tmp_path / "voices.json").write_text(json.dumps(told))
    return Voices(tmp_path)


def test_a_sound_that_two_tracks_share_counts_once_and_not_for_two_people(tmp_path):
    rng = np.random.default_rng(1)
    sounds = [(rng.standard_normal(100 * SAMPLES) * rng.uniform(10, 3000, 100 * SAMPLES // 400).repeat(400)).astype(np.int16) for _ in range(3)]
    writer = Writer(tmp_path, 500, ("frames", "sound", "bands", "label", "vad"))
    for name, person, which in (("a", "ann", 0), ("b", "ann", 0), ("c", "bob", 1), ("d", "cid", 1), ("e", "dan", 2)):
        writer.add(
            name, person, "talk", False, 1.0, frames=np.zeros((100, 176, 176), np.uint8), sound=sounds[which].reshape(100, SAMPLES),
            bands=sound_bands(sounds[which], 100), label=np.array([1] * 80 + [0] * 20, np.int8), vad=np.array([0] * 10 + [1] * 90, np.float32),
        )  # fmt: skip
    writer.finish()
    assert spoken(Clips(tmp_path)).reshape(5, 100).sum(axis=1).tolist() == [70, 0, 0, 0, 70]


def test_rows_are_those_under_the_chosen_instants_at_any_speed():
    sound = (np.random.default_rng(2).standard_normal(100 * SAMPLES) * 1000).astype(np.int16)
    chosen = np.arange(100) >= 60
    plain = rows_under(sound, chosen, 1, 1)
    np.testing.assert_array_equal(plain, sound_bands(sound, 100).reshape(-1, 27)[240:, :26])
    assert len(rows_under(sound, chosen, 10, 9)) == pytest.approx(160 * 10 / 9, abs=6)
    tone = (8000 * np.sin(np.arange(100 * SAMPLES) * 2 * np.pi * 3000 / 16000)).astype(np.int16)
    peaks = [int(rows_under(tone, chosen, *speed).mean(axis=0).argmax()) for speed in ((10, 9), (1, 1), (9, 10))]
    assert peaks[0] < peaks[1] < peaks[2]


def test_nobody_of_the_left_out_third_is_learnt_from():
    for left_out in range(3):
        people = {name for name in NAMES if learns_from(left_out, 1.0)(name)}
        assert people == {name for name in NAMES if third(name) != left_out}
        assert {name for name in NAMES if learns_from(left_out, 0.5)(name)} < people


def test_who_is_held_out_from_all_training_is_in_the_first_third():
    assert {third(f"n{number}") for number in range(500) if held_out(f"n{number}")} == {0}


def test_what_a_microphone_does_to_all_of_a_stretch_does_not_matter():
    rng = np.random.default_rng(5)
    rows = rng.gamma(2, 1e5, (200, BANDS)).astype(np.float32)
    np.testing.assert_allclose(together(rows * rng.uniform(0.2, 5, BANDS).astype(np.float32)), together(rows), rtol=2e-3, atol=2e-3)


def test_directions_are_those_in_which_people_differ():
    rng = np.random.default_rng(6)
    people = np.arange(120) % 12
    vectors = rng.standard_normal((120, 80))
    vectors[:, 0] += 5 * rng.standard_normal(12)[people]
    directions = Discriminant.fit(vectors, people).directions
    assert abs(directions[0, -1]) > 3 * np.abs(directions[1:, -1]).max()


def test_two_people_of_one_recording_are_told_by_what_was_learnt_from_others(voices):
    assert in_one_recording(voices, 100) == {"recordings": 0}
    voices.voices[1] = replace(voices.voices[1], recording="r0")
    told = in_one_recording(voices, 100)
    assert (told["recordings"], told["same"], told["different"]) == (1, 30, 36)


def test_stretches_do_not_overlap_and_are_few_of_a_person(voices):
    stretches = Stretches.cut(voices, 30)
    assert len(stretches.rows) == MOST * len(NAMES)
    first = np.stack(stretches.rows)[:MOST].reshape(-1, BANDS)
    np.testing.assert_array_equal(first, voices.speech(voices.voices[0])[: 30 * MOST])


def test_rates_of_pairs_within_thirds(voices):
    stretches = Stretches.cut(voices, 200)
    told = measure(stretches, by_spectrum(stretches))
    assert told["one track / any"].startswith("0.0")
    sizes = [sum(third(name) == part for name in NAMES) for part in range(3)]
    assert told["any: pairs"].split()[0] == str(sum(9 * size * (size - 1) // 2 for size in sizes))
    assert told["one track: pairs"] == f"{3 * len(NAMES)} of {len(NAMES)}"
    assert "other recording / any" not in told


@pytest.mark.parametrize(
    ("same", "different", "rate"), [([3, 4, 5], [0, 1, 2], 0.0), ([0, 1, 2], [3, 4, 5], 1.0), ([1, 2, 3, 9], [0, 0, 0, 2.5], 0.25)]
)
def test_equal_error(same, different, rate):
    cosines = np.array(same + different, float)
    own = np.arange(len(cosines)) < len(same)
    assert equal_error(cosines, own, ~own) == pytest.approx(rate)
    assert equal_error(cosines, own, ~own, np.full(len(cosines), 3.0)) == pytest.approx(rate)
