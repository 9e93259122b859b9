"""The made worlds are what they claim to be, read with nothing but FFmpeg's own clock."""

import av
import numpy as np
import pytest

from tests import worlds

MAKERS = [worlds.film_rate, worlds.varying_rate, worlds.late_clock, worlds.late_sound, worlds.late_picture, worlds.two_sounds, worlds.one_sided]


def begins(lit, times):
    """Times at which `lit` rises."""
    lit = np.concatenate([[False], lit])
    return [times[k] for k in range(len(times)) if lit[k + 1] and not lit[k]]


def seen_and_heard(path):
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    sounds = []
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    for track in range(count):
        with av.open(str(path)) as container:
            for frame in container.decode(audio=track):
                samples = np.atleast_2d(frame.to_ndarray().astype(float)) / (32768 if frame.format.name.startswith("s16") else 1)
                sides = samples if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels)).T
                loud = np.abs(sides).max(axis=0)
                sounds += [(frame.time + k / frame.sample_rate, loud[k : k + 48].max()) for k in range(0, len(loud), 48)]
    return frames, sorted(sounds)


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_flashes_and_beeps_stand_where_they_should(maker, tmp_path):
    world = maker(tmp_path)
    frames, sounds = seen_and_heard(world.path)
    origin = min(frames[0][0], sounds[0][0])
    flashes = [time - origin for time in begins(np.array([level for _, level in frames]) > 130, [time for time, _ in frames])]
    assert len(flashes) == len(world.flashes)
    assert np.abs(np.array(flashes) - world.flashes).max() <= 0.07  # a frame of the lowest rate here
    loud = [time - origin for time, level in sounds if level > 0.1]
    first = [time for k, time in enumerate(loud) if k == 0 or time - loud[k - 1] > 0.3]
    assert len(first) == len(world.beeps)
    assert np.abs(np.array(first) - world.beeps).max() < 0.03


def test_odd_ones(tmp_path):
    with av.open(str(worlds.no_sound(tmp_path).path)) as container:
        assert not container.streams.audio
    with av.open(str(worlds.one_frame(tmp_path).path)) as container:
        assert len(list(container.decode(video=0))) == 1
    frames, sounds = seen_and_heard(worlds.silent(tmp_path).path)
    assert max(level for _, level in sounds) < 1e-3
    assert len(frames) == 100
