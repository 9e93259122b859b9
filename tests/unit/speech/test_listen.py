"""Listening gives one record per sound track, and picks the track that is worth listening to."""

import numpy as np
import pytest

from asd_core.records import AudioTrack
from asd_core.speech.listen import is_silent, listen, listen_to_asset, no_sound

RATE = 16000


class Loud:
    def process_chunk(self, audio):
        return float(np.abs(np.frombuffer(audio, np.int16)).mean() > 500)

    def reset(self):
        pass


def track(index, *, default=False):
    return AudioTrack(index, "aac", 2, "stereo", 48000, None, None, default, 0.0, 4.0)


def tone(seconds, level=3000):
    return np.full(round(seconds * RATE), level, np.int16)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)


def hear(*pieces, duration):
    return listen(pieces, duration, detector=Loud())


def test_lengths_follow_the_duration_not_the_sound():
    for pieces in ([], [tone(1)], [tone(9)]):
        sound = hear(*pieces, duration=3.0)
        assert sound.mfcc.shape == (300, 13)
        assert sound.activity.shape == sound.level.shape == (75,)
        assert np.isfinite(sound.mfcc).all()


def test_no_duration():
    sound = hear(tone(1), duration=0.0)
    assert len(sound.mfcc) == len(sound.activity) == 0
    assert sound.speech == sound.spans == ()


def test_speech_and_silences_are_spans():
    sound = hear(tone(2), silence(3), tone(1), silence(1.5), tone(1), duration=8.5)
    np.testing.assert_allclose([(s.start, s.end) for s in sound.speech], [(0, 2), (5, 6), (7.5, 8.5)], atol=0.05)
    assert [(s.start, s.end, s.kind) for s in sound.spans] == [(2.0, 5.0, "silence")]


def test_nothing_outlasts_the_asset():
    spoken, quiet = hear(tone(4), duration=3.01), hear(silence(4), duration=3.01)
    assert len(spoken.activity) == 76
    assert [(s.start, s.end) for s in spoken.speech] == [(0, 3.01)]
    assert [(s.start, s.end) for s in quiet.spans] == [(0, 3.01)]


def test_progress_ends_at_the_duration():
    told = []
    listen([tone(1), tone(1)], 2.0, detector=Loud(), on_progress=lambda *step: told.append(step))
    assert told[-1] == ("listen", 2.0, 2.0)


def test_no_sound_is_silent():
    assert is_silent(no_sound())
    assert is_silent(hear(silence(2), duration=2.0))
    assert not is_silent(hear(silence(1), tone(1), duration=2.0))


@pytest.mark.parametrize(
    ("tracks", "sounds", "chosen"),
    [
        ([], {}, None),
        ([track(1)], {1: tone(2)}, 1),
        ([track(1), track(2, default=True)], {1: tone(4), 2: tone(1)}, 2),  # the default, though another has more speech
        ([track(1, default=True), track(2), track(3)], {1: silence(4), 2: tone(1), 3: tone(2)}, 3),  # it is silent: most speech
        ([track(1), track(2)], {1: tone(1), 2: tone(4)}, 1),  # none flagged: the first
        ([track(1, default=True), track(2), track(3)], {1: silence(4), 2: tone(2), 3: tone(2)}, 2),  # equals: the earlier stream
        ([track(1), track(2, default=True)], {1: silence(4), 2: silence(4)}, 2),  # all silent: the default stays
        ([track(1, default=True), track(2)], {1: silence(4), 2: tone(4, 100)}, 2),  # audible, though nobody speaks
    ],
)
def test_the_choice_among_tracks(tracks, sounds, chosen):
    sound = listen_to_asset(tracks, lambda index: [sounds[index]], 4.0, detector=Loud())
    assert sound.audio_track == chosen


def test_silero_tells_noise_from_nothing():
    noise = np.random.default_rng(0).normal(0, 1000, RATE * 2).astype(np.int16)
    sound = listen([noise], 2.0)
    assert sound.activity.max() < 0.5
    assert sound.speech == ()
