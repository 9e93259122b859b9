import types
from fractions import Fraction

import av
import numpy as np
import pytest

from asd_core.errors import MediaError, Unreadable, Unsupported
from asd_core.media.probe import probe
from asd_core.media.source import read_packets
from tests.unit.media.films import babble, write_film, write_sound


def test_a_plain_film_is_described(tmp_path):
    sound = ("aac", 48000, "stereo", np.stack([babble(3), babble(3)]))
    info = probe(write_film(tmp_path / "plain.mp4", sound=sound))
    assert info.video is not None
    assert (info.video.width, info.video.height, info.video.codec) == (192, 108, "h264")
    assert info.video.frame_rate == pytest.approx(25)
    assert info.video.duration == pytest.approx(3, abs=0.001)
    assert [(t.codec, t.channels, t.sample_rate) for t in info.audio_tracks] == [("aac", 2, 48000)]
    assert min(info.video.start, info.audio_tracks[0].start) == 0


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4", "mov"])
def test_the_rate_and_the_end_come_from_the_packets(tmp_path, suffix):
    info = probe(write_film(tmp_path / f"film.{suffix}", rate=Fraction(30000, 1001), count=90))
    assert info.video.frame_rate == pytest.approx(30000 / 1001, rel=1e-3)
    assert info.duration == pytest.approx(90 * 1001 / 30000, abs=0.002)


def test_a_single_frame_lasts_something(tmp_path):
    info = probe(write_film(tmp_path / "one.mp4", count=1))
    assert 0 < info.duration < 0.1


def test_rotation_turns_the_size(tmp_path):
    upright = {turn: probe(write_film(tmp_path / f"{turn}.mp4", rotation=turn, count=3)).video for turn in (90, 180, 270)}
    assert [upright[turn].rotation for turn in (90, 180, 270)] == [270, 180, 90]  # FFmpeg counts against the clock
    assert (upright[90].width, upright[90].height) == (108, 192)
    assert (upright[180].width, upright[180].height) == (192, 108)


def test_oblong_pixels_are_squared(tmp_path):
    video = probe(write_film(tmp_path / "wide.mp4", aspect=Fraction(16, 11), count=3)).video
    assert (video.width, video.height, video.coded_width) == (279, 108, 192)


def test_cover_art_is_no_picture(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        song = out.add_stream("aac", rate=16000, layout="mono")
        cover = out.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        out.mux(song.encode(frame))
        out.mux(song.encode(None))
    info = probe(path)
    assert info.video is None
    assert info.duration == pytest.approx(1, abs=0.1)


def test_sound_alone_is_a_result(tmp_path):
    info = probe(write_sound(tmp_path / "talk.wav", ("pcm_s16le", 16000, "mono", babble(2, 16000)[None])))
    assert info.video is None
    assert info.duration == pytest.approx(2, abs=0.01)


def test_a_picture_beyond_the_limit_is_refused(tmp_path):
    path = write_film(tmp_path / "huge.mkv", "ffv1", size_wh=(8256, 16), count=1)
    with pytest.raises(Unsupported, match="8256x16"):
        probe(path)


def test_a_file_cut_short_ends_where_its_data_end(tmp_path):
    whole = write_film(tmp_path / "whole.mp4", count=200, muxer={"movflags": "faststart"}, options={"g": "25"})
    short = tmp_path / "short.mp4"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 1 < probe(short).duration < 6.5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"not a film\n" * 40),
        ("zeros.mkv", bytes(5000)),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"),
    ],
)
def test_what_is_no_media_gets_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        probe(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(Unreadable, match=r"nowhere\.mp4"):
        probe(tmp_path / "nowhere.mp4")


def test_a_header_without_frames_is_unreadable(tmp_path):
    header = tmp_path / "header.mkv"
    mkv = write_film(tmp_path / "whole.mkv", count=5).read_bytes()
    header.write_bytes(mkv[: mkv.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(MediaError):
        probe(header)


@pytest.mark.media
def test_every_broken_file_is_a_result_or_one_sentence(media):
    outcomes = {}
    for path in sorted((media / "broken").iterdir()):
        try:
            info = probe(path)
            outcomes[path.name] = (round(info.duration, 1), info.video is not None, len(info.audio_tracks))
        except MediaError as error:
            assert path.name in str(error)
            outcomes[path.name] = type(error).__name__
    assert outcomes["audio_only.m4a"] == (10.0, False, 1)
    assert outcomes["truncated_50pct_moov_start.mp4"] == (5.4, True, 1)
    assert outcomes["corrupted_middle.mp4"] == (10.0, True, 1)
    assert outcomes["one_frame.mp4"] == (0.0, True, 0)
    assert {name for name, outcome in outcomes.items() if outcome == "Unreadable"} == {
        "empty.mp4",
        "random_bytes.mp4",
        "text_named.mp4",
        "truncated_50pct_moov_end.mp4",
        "wrong_magic.mp4",
        "zero_duration.mp4",
    }


def test_a_broken_stamp_does_not_make_a_film_of_hours(tmp_path):
    """Its spans would be looked at one by one, for nothing."""
    stamps = [*range(24), 25 * 3600 * 20]
    with pytest.raises(Unreadable, match=r"20\.0 hours, for which \d+ bytes are too few"):
        probe(write_film(tmp_path / "late.mkv", count=len(stamps), stamps=stamps))
    slides = [25 * 60 * minute for minute in range(9)]
    assert probe(write_film(tmp_path / "slides.mkv", count=len(slides), stamps=slides)).duration > 480


def test_a_stream_that_appears_on_the_way_ends_the_reading_and_no_more():
    """PyAV's `demux` counts the streams when it begins, and stumbles over later ones at its end."""

    class Stumbling:
        def demux(self, *streams):
            yield types.SimpleNamespace(size=5)
            raise IndexError("list index out of range")

    assert [packet.size for packet in read_packets(Stumbling())] == [5]
