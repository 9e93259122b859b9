import numpy as np
import pytest
from scipy.signal import correlate, resample_poly

from asd_core.errors import RequestError
from asd_core.media.audio import BLOCK_SAMPLES, RATE, read_audio
from asd_core.media.probe import probe
from tests.unit.media.films import babble, write_film, write_sound


def heard(path, index=None):
    info = probe(path)
    chunks = list(read_audio(path, info, info.audio_tracks[0].index if index is None else index))
    assert all(chunk.dtype == np.int16 and chunk.ndim == 1 for chunk in chunks)
    return np.concatenate(chunks).astype(np.float64)


def lag(sound, reference):
    """Seconds by which `sound` follows `reference`."""
    table = correlate(sound, reference, method="fft")
    return (int(np.argmax(table)) - (len(reference) - 1)) / RATE


def loudness(sound):
    return np.sqrt(np.mean(np.square(sound)))


@pytest.mark.parametrize(
    ("name", "codec", "hz"),
    [
        ("a.mp4", "aac", 48000),
        ("a.mkv", "aac", 44100),
        ("a.mp4", "aac", 22050),
        ("a.ts", "aac", 48000),
        ("a.mkv", "ac3", 48000),
        ("a.mkv", "flac", 48000),
        ("a.webm", "libopus", 48000),
        ("a.mp3", "libmp3lame", 44100),
        ("a.wav", "pcm_s16le", 48000),
        ("a.wav", "pcm_s16le", 8000),
        ("a.mov", "pcm_s16le", 48000),
        ("a.ogg", "libopus", 48000),
    ],
)
def test_sound_stands_where_it_was_recorded(tmp_path, name, codec, hz):
    source = babble(3, hz)
    sound = heard(write_sound(tmp_path / name, (codec, hz, "stereo", np.stack([source, source]))))
    # Codecs whose priming the container cannot tell (AC-3, AAC in Matroska and transport streams) come late by it: at most 26 ms.
    tolerance = 0.03 if (name, codec) in {("a.mkv", "aac"), ("a.ts", "aac"), ("a.mkv", "ac3")} else 0.002
    assert abs(lag(sound, resample_poly(source, RATE, hz))) <= tolerance
    assert loudness(sound) / 32768 == pytest.approx(loudness(source), rel=0.2)


def test_picture_and_sound_stay_together_where_priming_is_not_told(tmp_path):
    """What the container shifts it shifts for both: the start of the picture tells by how much."""
    source = babble(3)
    for name in ("a.mkv", "a.ts", "a.mp4"):
        path = write_film(tmp_path / name, sound=("aac", 48000, "mono", source[None]))
        info = probe(path)
        assert lag(heard(path), resample_poly(source, RATE, 48000)) == pytest.approx(info.video.start, abs=0.025)


def test_gaps_are_silence_and_overlaps_are_cut(tmp_path):
    source = babble(2, 16000)
    blocks = range(0, len(source), 1024)
    gap = [start + (8000 if start >= 16384 else 0) for start in blocks]
    sound = heard(write_sound(tmp_path / "gap.mkv", ("pcm_s16le", 16000, "mono", source[None]), gap))
    assert np.abs(sound[16384 + 50 : 24384 - 50]).max() == 0
    assert lag(sound[24384:], source[16384:]) == pytest.approx(0, abs=0.002)
    assert len(sound) == pytest.approx(len(source) + 8000, abs=40)


def test_a_late_track_begins_with_silence(tmp_path):
    source = babble(1, 16000)
    stamps = [start + 16000 for start in range(0, len(source), 1024)]
    path = tmp_path / "late.mkv"
    film = write_film(tmp_path / "film.mkv", sound=("pcm_s16le", 16000, "mono", np.concatenate([np.zeros(0, np.float32), source])[None]))
    assert lag(heard(film), source) == pytest.approx(0, abs=0.002)
    alone = heard(write_sound(path, ("pcm_s16le", 16000, "mono", source[None]), stamps))
    assert lag(alone, source) == pytest.approx(0, abs=0.002)  # nothing else sets the clock: zero is where the sound begins


def test_a_slow_clock_is_followed(tmp_path):
    """Stamps that run 0.5 % faster than the samples: after 20 s a count would be 100 ms off."""
    source = babble(20, 16000)
    stamps = [round(start * 1.005) for start in range(0, len(source), 1024)]
    sound = heard(write_sound(tmp_path / "drift.mkv", ("pcm_s16le", 16000, "mono", source[None]), stamps))
    for second in (1, 10, 18):
        at = round(second * 1.005 * RATE)
        piece = sound[at - 2000 : at + 10000]
        assert lag(piece, source[second * RATE : second * RATE + 8000]) == pytest.approx(2000 / RATE, abs=0.02)


def test_jitter_of_stamps_breaks_nothing(tmp_path):
    source = babble(4, 16000)
    generator = np.random.default_rng(1)
    stamps = [max(0, start + int(generator.integers(-100, 100))) for start in range(0, len(source), 1024)]
    stamps[0] = 0
    sound = heard(write_sound(tmp_path / "jitter.mkv", ("pcm_s16le", 16000, "mono", source[None]), stamps))
    assert np.abs(sound[: len(source)] / 32768 - source[: len(sound)]).max() < 1e-3


def test_speech_in_the_centre_survives(tmp_path):
    source = babble(2)
    for layout in ("5.1", "5.1(side)", "7.1"):
        from av import AudioLayout

        names = [channel.name for channel in AudioLayout(layout).channels]
        sides = 0.02 * np.random.default_rng(2).standard_normal((len(names), len(source))).astype(np.float32)
        sides[names.index("FC")] = source
        sound = heard(write_sound(tmp_path / "surround.mkv", ("flac" if layout != "7.1" else "pcm_s16le", 48000, layout, sides)))
        assert abs(lag(sound, resample_poly(source, RATE, 48000))) < 0.002
        assert loudness(sound) / 32768 > 0.8 * loudness(source)


def test_a_silent_side_does_not_halve_and_opposite_sides_do_not_cancel(tmp_path):
    source = babble(2, 16000)
    for k, (left, right) in enumerate([(source, 0 * source), (0 * source, source), (source, source), (source, -source)]):
        sound = heard(write_sound(tmp_path / f"{k}.wav", ("pcm_s16le", 16000, "stereo", np.stack([left, right]))))
        assert loudness(sound) / 32768 == pytest.approx(loudness(source), rel=0.02), k


def test_chunks_are_bounded_and_digital_silence_stays_so(tmp_path):
    path = write_sound(tmp_path / "hush.wav", ("pcm_s16le", 48000, "stereo", np.zeros((2, 96000), np.float32)))
    info = probe(path)
    chunks = list(read_audio(path, info, info.audio_tracks[0].index))
    assert max(len(chunk) for chunk in chunks) <= BLOCK_SAMPLES
    assert sum(len(chunk) for chunk in chunks) == 32000
    assert not np.concatenate(chunks).any()


def test_a_track_that_is_not_there_is_named(tmp_path):
    path = write_sound(tmp_path / "talk.wav", ("pcm_s16le", 16000, "mono", babble(1, 16000)[None]))
    with pytest.raises(RequestError, match="stream 7"):
        next(iter(read_audio(path, probe(path), 7)))


@pytest.mark.media
def test_each_variant_sounds_when_the_base_does(media):
    folder = media / "clips" / "derived"
    base = heard(folder / "base_2997fps.mp4")
    later = {"audio_late_520ms_container.mkv": 0.52, "audio_late_520ms_container.mp4": 0.52, "desync_audio_late_400ms_baked.mp4": 0.4}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("talker"):
            continue
        info = probe(path)
        track = next((t for t in info.audio_tracks if t.default), info.audio_tracks[0])
        start = info.video.start - (0.4 if path.name.startswith("video_late") else 0)
        # AVI shows the first picture two periods long: the picture itself is one period, 33 ms, late and the sound's priming 23 ms.
        start = 0.0234 if path.suffix == ".avi" else start
        assert lag(heard(path, track.index), base) == pytest.approx(start + later.get(path.name, 0), abs=0.01), path.name
