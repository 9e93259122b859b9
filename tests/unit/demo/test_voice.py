import numpy as np
import pytest

from asd_core.demo.voice import LEVEL, RATE, VOICES, engine, speak
from asd_core.speech.activity import load_voice_detector

TEXT = "the tower is calling and every engine is ready for the flight"
SPEAKERS = sorted({engine(), "formants-1"})


@pytest.mark.parametrize("speaker", SPEAKERS)
@pytest.mark.parametrize("name", sorted(VOICES))
def test_a_voice_detector_takes_it_for_speech(name, speaker):
    sound = speak(TEXT, VOICES[name], seed=3, speaker=speaker)
    quiet = np.random.default_rng(0).normal(0, 12, 2 * 4800 + len(sound))
    quiet[4800:-4800] += sound * 32767
    samples = quiet.astype("<i2")
    detector = load_voice_detector()
    chunk = detector.chunk_samples()
    heard = np.array([detector.process_chunk(samples[k : k + chunk].tobytes()) for k in range(0, len(samples) - chunk, chunk)])
    first, last = 4800 // chunk + 1, (4800 + len(sound)) // chunk - 1
    assert (heard[first:last] >= 0.5).mean() > 0.85
    assert heard[: first - 2].max() < 0.5


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_an_utterance_is_loud_enough_whole_and_the_same_each_time(speaker):
    sound = speak(TEXT, VOICES["collins"], seed=1, speaker=speaker)
    assert 2 < len(sound) / RATE < 6
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(LEVEL, rel=0.05)
    assert np.abs(sound).max() < 1
    assert np.array_equal(sound, speak(TEXT, VOICES["collins"], seed=1, speaker=speaker))


def test_voices_differ_in_pitch():
    def pitch(name):
        sound = speak(TEXT, VOICES[name], seed=2, speaker="formants-1")
        correlation = np.correlate(sound[8000:12000], sound[8000:12000], mode="full")[4000:]
        return RATE / (50 + int(np.argmax(correlation[50:230])))

    assert pitch("collins") > pitch("hopper") > pitch("narrator")
