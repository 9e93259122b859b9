"""What every speaking network must do: pieces, batches and windows change nothing, so the line may cut a track where it likes."""

import numpy as np
import pytest

from asd_core.models.session import open_session
from asd_core.speech.score import ENCODER_REACH, open_speaking

PUBLIC = ("lrasd_ava", "lrasd_talkset", "lightasd_ava", "lightasd_talkset")


@pytest.fixture(scope="module", params=["rollcall_sync", *(pytest.param(name, marks=pytest.mark.models) for name in PUBLIC)])
def network(request, find_model):
    return open_speaking(find_model("speaking", request.param), open_session)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def faces(rng, count):
    """Return (count, 112, 112) crops of smooth noise that moves."""
    return np.clip(rng.normal(128, 40, (count, 14, 14)), 0, 255).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def cepstra(rng, instants):
    return (rng.normal(0, 8, (1, 4 * instants, 13))).astype(np.float32)


def test_a_piece_with_its_reach_gives_the_features_of_the_whole(network, rng):
    crops = faces(rng, 60)
    whole = network.visual(crops[None])[0]
    piece = network.visual(crops[None, 20 - ENCODER_REACH : 40 + ENCODER_REACH])[0, ENCODER_REACH:-ENCODER_REACH]
    np.testing.assert_allclose(piece, whole[20:40], atol=1e-3)


def test_the_sound_reaches_no_further_than_the_picture(network, rng):
    mfcc = cepstra(rng, 60)
    whole = network.audio(mfcc)[0]
    piece = network.audio(mfcc[:, 4 * (20 - ENCODER_REACH) : 4 * (40 + ENCODER_REACH)])[0, ENCODER_REACH:-ENCODER_REACH]
    np.testing.assert_allclose(piece, whole[20:40], atol=1e-3)


def test_one_feature_an_instant_and_one_logit(network, rng):
    for instants in (1, 5, 25):
        visual, audio = network.visual(faces(rng, instants)[None]), network.audio(cepstra(rng, instants))
        assert visual.shape[:2] == audio.shape[:2] == (1, instants)
        logits = network.head(audio, visual)
        assert logits.shape == (1, instants)
        assert np.isfinite(logits).all()


def test_windows_of_a_batch_do_not_know_each_other(network, rng):
    visual = np.concatenate([network.visual(faces(rng, 25)[None]) for _ in range(3)])
    audio = np.concatenate([network.audio(cepstra(rng, 25)) for _ in range(3)])
    together = network.head(audio, visual)
    for row in range(3):
        np.testing.assert_allclose(network.head(audio[row : row + 1], visual[row : row + 1])[0], together[row], atol=1e-4)


def test_features_survive_half_precision(network, rng):
    """They rest as float16 between the stages."""
    crops = faces(rng, 40)
    kept = network.encode_visual(crops)
    assert kept.dtype == np.float16
    audio = network.audio(cepstra(rng, 40))
    exact, stored = network.head(audio, network.visual(crops[None])), network.head(audio, kept[None].astype(np.float32))
    np.testing.assert_allclose(stored, exact, atol=2e-2)


def test_probability_is_a_half_where_the_calibration_says_so(network):
    calibration = network.calibration
    assert calibration.slope > 0
    even = np.array([-calibration.offset / calibration.slope], np.float32)
    np.testing.assert_allclose(calibration.probabilities(even), 0.5, atol=1e-6)
