"""Windows cover a track, halos keep pieces exact, and logits stand at the track's instants."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.errors import ModelMismatch
from asd_core.models.manifest import InputFormat, Manifest, ModelFile
from asd_core.models.registry import Model
from asd_core.records import Sound, Track
from asd_core.speech.listen import no_sound
from asd_core.speech.score import Calibration, ScoreOptions, SoundFeatures, SpeakingNetwork, open_speaking, score_tracks, window_starts, window_votes


class Part:
    """One part of a network that computes what the test says."""

    sha256 = "0" * 64
    profile = "cpu-fp32"

    def __init__(self, compute):
        self.compute = compute
        self.shapes = []

    def run(self, feeds):
        self.shapes.append({name: value.shape for name, value in feeds.items()})
        return self.compute(feeds)


def smeared(values, reach):
    """The sum over `reach` neighbours on both sides, zeros outside: what a stack of temporal convolutions does."""
    padded = np.pad(values, ((0, 0), (reach, reach)) + ((0, 0),) * (values.ndim - 2))
    return sum(padded[:, i : i + values.shape[1]] for i in range(2 * reach + 1))


def network(head=None):
    visual = Part(lambda feeds: {"visual": smeared(feeds["frames"].mean(axis=(2, 3))[..., None], 9)})
    audio = Part(lambda feeds: {"audio": smeared(feeds["mfcc"][:, :, :1].reshape(len(feeds["mfcc"]), -1, 4).mean(axis=2)[..., None], 6)})
    detector = Part(head or (lambda feeds: {"score": feeds["visual"][..., 0] + feeds["audio"][..., 0]}))
    return SpeakingNetwork(visual, audio, detector, Calibration(2.0, 0.5)), detector


def track(first, length, name="t1"):
    return Track(name, 0, first, np.zeros((length, 4), np.float32), np.ones(length, bool), False)


def sound(instants, seed=0):
    mfcc = np.random.default_rng(seed).normal(size=(4 * instants, 13)).astype(np.float32)
    flat = np.zeros(instants, np.float32)
    return Sound(1, mfcc, flat, flat, (), ())


@given(length=st.integers(1, 2000), window=st.integers(1, 200), overlap=st.floats(0, 0.9))
def test_windows_cover_every_instant_and_keep_their_overlap(length, window, overlap):
    starts = window_starts(length, window, overlap)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] + window >= length
    if length > window:
        assert starts[-1] + window == length
    assert all(after - before <= max(1, window * (1 - overlap)) + 1 for before, after in itertools.pairwise(starts))


def test_votes_fall_towards_the_edges_and_never_vanish():
    np.testing.assert_allclose(window_votes(7, 2), [1 / 3, 2 / 3, 1, 1, 1, 2 / 3, 1 / 3])
    assert window_votes(1, 5).min() > 0
    assert (window_votes(4, 0) == 1).all()


@pytest.mark.parametrize("length", [0, 1, 149, 150, 151, 400])
def test_pieces_of_crops_give_the_features_of_one_pass(length):
    speaking, _ = network()
    crops = np.random.default_rng(1).integers(0, 256, (length, 2, 2)).astype(np.uint8)
    features = speaking.encode_visual(crops)
    assert features.dtype == np.float16
    if length:
        np.testing.assert_array_equal(features, speaking.visual(crops[None])[0].astype(np.float16))


@pytest.mark.parametrize(("first", "count"), [(0, 10), (3, 500), (240, 20), (499, 1), (600, 30)])
def test_sound_features_are_those_of_one_pass_and_silence_follows_the_end(first, count):
    speaking, _ = network()
    heard = sound(550)
    silence = SoundFeatures(np.zeros((0, 13), np.float32), speaking)._silence
    whole = speaking.audio(np.concatenate([heard.mfcc, np.repeat(silence, 400, axis=0)])[None])[0]
    np.testing.assert_allclose(SoundFeatures(heard.mfcc, speaking).between(first, count), whole[first : first + count], rtol=1e-5)


def test_logits_stand_at_the_instants_of_the_track():
    speaking, _ = network(lambda feeds: {"score": feeds["visual"][..., 0]})
    lengths = [1, 2, 24, 25, 26, 149, 151, 700]
    tracks = [track(10 * i, length, f"t{i}") for i, length in enumerate(lengths)]
    visual = [np.arange(length, dtype=np.float16)[:, None] for length in lengths]
    scores = score_tracks(tracks, visual.__getitem__, sound(800), speaking)
    for logits, expected, probabilities in zip(scores.logits, visual, scores.probabilities, strict=True):
        np.testing.assert_allclose(logits, expected[:, 0], rtol=1e-6)
        np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-(2.0 * logits.astype(float) + 0.5))), rtol=1e-5)


def test_no_tracks_and_a_track_of_no_length():
    speaking, _ = network()
    assert score_tracks([], [].__getitem__, sound(10), speaking).logits == ()
    scores = score_tracks([track(3, 0)], [np.zeros((0, 0), np.float16)].__getitem__, sound(10), speaking)
    assert len(scores.logits[0]) == len(scores.probabilities[0]) == 0


def test_without_sound_the_network_hears_silence():
    speaking, _ = network()
    scores = score_tracks([track(0, 40)], [np.zeros((40, 1), np.float16)].__getitem__, no_sound(), speaking)
    assert np.isfinite(scores.logits[0]).all()
    assert scores.logits[0].max() < 0


def test_features_must_fit_the_track():
    speaking, _ = network()
    with pytest.raises(ValueError, match="expected 5 rows"):
        score_tracks([track(0, 5)], [np.zeros((4, 1), np.float16)].__getitem__, sound(10), speaking)


def test_equal_windows_run_in_one_batch():
    speaking, detector = network()
    tracks = [track(0, 100, f"t{i}") for i in range(6)]
    score_tracks(tracks, ([np.zeros((100, 1), np.float16)] * 6).__getitem__, sound(100), speaking, ScoreOptions(windows=(6.0,)))
    assert [shapes["visual"] for shapes in detector.shapes] == [(6, 100, 1)]


@settings(deadline=None, max_examples=20)
@given(shift=st.integers(0, 700), length=st.integers(1, 300))
def test_logits_do_not_depend_on_where_the_clip_begins(shift, length):
    speaking, _ = network()
    heard = sound(length + 40)
    visual = [np.random.default_rng(2).normal(size=(length, 1)).astype(np.float16)]
    before = score_tracks([track(20, length)], visual.__getitem__, heard, speaking).logits[0]
    later = Sound(1, np.concatenate([np.zeros((4 * shift, 13), np.float32), heard.mfcc]), heard.activity, heard.level, (), ())
    after = score_tracks([track(20 + shift, length)], visual.__getitem__, later, speaking).logits[0]
    np.testing.assert_allclose(before, after, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(5)))
def test_the_order_of_tracks_does_not_matter(order):
    speaking, _ = network()
    rng = np.random.default_rng(4)
    tracks = [track(37 * i, 30 + 60 * i, f"t{i}") for i in range(5)]
    visual = [rng.normal(size=(len(t), 1)).astype(np.float16) for t in tracks]
    before = score_tracks(tracks, visual.__getitem__, sound(600), speaking).logits
    after = score_tracks([tracks[i] for i in order], [visual[i] for i in order].__getitem__, sound(600), speaking).logits
    for i, logits in zip(order, after, strict=True):
        np.testing.assert_allclose(logits, before[i], atol=1e-5)


def test_calibration_does_not_overflow():
    probabilities = Calibration(2.0, 0.0).probabilities(np.array([-1e6, 0, 1e6], np.float32))
    assert probabilities.tolist() == [0, 0.5, 1]


def test_another_kind_of_speaking_model_is_refused():
    manifest = Manifest("other", "speaking", "video-only", "MIT", True, {"visual": ModelFile("v.onnx")}, InputFormat("frames", (112, 112)))
    with pytest.raises(ModelMismatch, match="video-only"):
        open_speaking(Model(manifest, {}, ""), lambda path: None)


def test_a_network_brings_its_own_windows_unless_others_are_asked_for():
    speaking, detector = network()
    speaking.windows = (3.0,)
    features = [np.zeros((100, 1), np.float16)]
    score_tracks([track(0, 100)], features.__getitem__, sound(100), speaking)
    assert {shapes["visual"][1] for shapes in detector.shapes} == {75}
    detector.shapes.clear()
    score_tracks([track(0, 100)], features.__getitem__, sound(100), speaking, ScoreOptions(windows=(2.0,)))
    assert {shapes["visual"][1] for shapes in detector.shapes} == {50}
