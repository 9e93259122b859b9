import numpy as np

from asd_core.demo.acting import act, lips
from asd_core.demo.voice import LEVEL, RATE


def noise(seconds, level=LEVEL, seed=0):
    rng = np.random.default_rng(seed)
    dark = np.convolve(rng.normal(0, 1, round(seconds * RATE)), np.ones(12) / 12, mode="same")
    return (dark / dark.std() * level).astype(np.float32)


def test_lips_open_with_the_sound_and_not_without():
    sound = np.concatenate([np.zeros(RATE), noise(1.0), np.zeros(RATE)]).astype(np.float32)
    opening, _ = lips(sound, 75)
    assert opening[:23].max() == 0
    assert opening[27:48].min() > 0.2
    assert opening[53:].max() == 0


def test_louder_is_wider():
    soft, loud = (lips(noise(1.0, level), 25)[0].mean() for level in (LEVEL / 3, LEVEL))
    assert loud > 1.5 * soft


def test_hissing_nearly_shuts_the_mouth():
    hiss = np.diff(noise(1.0), prepend=0)
    hiss *= LEVEL / hiss.std()
    assert lips(np.diff(hiss, prepend=0).astype(np.float32), 25)[0].mean() < lips(noise(1.0), 25)[0].mean()


def test_a_listener_sways_and_blinks_with_a_shut_mouth():
    poses = act(None, 250, seed=4)
    assert {pose.opening for pose in poses} == {0.0}
    assert np.std([pose.sway[0] for pose in poses]) > 0.01
    assert 5 < sum(pose.blink > 0.5 for pose in poses) < 60


def test_no_frames_no_poses():
    assert act(None, 0, seed=1) == []
