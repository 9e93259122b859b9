import numpy as np
import pytest

from asd_core.media.mixdown import RAMP_SAMPLES, Mixdown, fold


def noise(seed, count=8000):
    return 0.1 * np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def test_one_channel_passes_as_it_is():
    block = noise(1)[None]
    assert np.array_equal(Mixdown().mix(block), block[0])


def test_unrelated_sides_are_averaged():
    left, right = noise(1), noise(2)
    assert np.allclose(Mixdown().mix(np.stack([left, right])), (left + right) / 2, atol=1e-6)


def test_of_many_microphones_the_loudest_leads():
    block = np.stack([noise(1), 0 * noise(1), 0.1 * noise(2), 0 * noise(1)])
    assert np.abs(Mixdown().mix(block) - block[0]).max() < 0.01
    copies = np.stack([noise(1)] * 4)
    assert np.allclose(Mixdown().mix(copies), copies[0], atol=1e-6)


def test_silence_keeps_the_weights():
    mixdown = Mixdown()
    speech = noise(1)
    one_sided = np.stack([speech, 0 * speech])
    mixdown.mix(one_sided)
    mixdown.mix(np.zeros_like(one_sided))
    assert np.allclose(mixdown.mix(one_sided), speech, atol=1e-6)


def test_weights_glide_between_blocks():
    mixdown = Mixdown()
    constant = np.full(8000, 0.5, np.float32)
    mixdown.mix(np.stack([constant, noise(3) + 0.3]))
    after = mixdown.mix(np.stack([constant, 0 * constant]))
    assert np.abs(np.diff(after)).max() < 2 / RAMP_SAMPLES
    assert after[-1] == pytest.approx(0.5)


def test_the_centre_goes_whole_to_both_sides():
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    samples = np.zeros((6, 4), np.float32)
    samples[2] = 1
    samples[3] = 5
    assert np.array_equal(fold(samples, names), np.ones((2, 4), np.float32))


def test_unnamed_channels_are_left_alone():
    samples = np.ones((3, 4), np.float32)
    assert fold(samples, ["NONE"] * 3) is samples
