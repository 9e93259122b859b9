from fractions import Fraction

import numpy as np
import pytest

from asd_core.media.decode import read_frames
from asd_core.media.probe import probe
from tests.unit.media.films import number_of, write_film

KINDS = {
    "h264.mp4": ("libx264", {"options": {"g": "20", "bf": "3"}}),
    "h264_10bit.mp4": ("libx264", {"pixel_format": "yuv420p10le", "options": {"g": "20"}}),
    "open_gop.mkv": ("libx264", {"options": {"x264-params": "open-gop=1:keyint=15:bframes=3:b-adapt=0"}}),
    "open_gop_h264.ts": ("libx264", {"options": {"x264-params": "open-gop=1:keyint=15:bframes=3:b-adapt=0"}}),
    "mpeg2.ts": ("mpeg2video", {"options": {"g": "12", "bf": "2"}}),
    "mpeg2.mpg": ("mpeg2video", {"options": {"g": "12", "bf": "2"}}),
    "mpeg4.avi": ("mpeg4", {"options": {"g": "20", "bf": "0"}}),
    "hevc.mp4": ("libx265", {"options": {"x265-params": "log-level=none:keyint=20"}}),
    "vp9.webm": ("libvpx-vp9", {"options": {"g": "20", "deadline": "realtime", "cpu-used": "8"}}),
    "av1.mkv": ("libsvtav1", {"options": {"preset": "12", "g": "20", "svtav1-params": "lp=1"}}),
    "prores.mov": ("prores_ks", {"pixel_format": "yuv422p10le"}),
    "dnxhr.mov": ("dnxhd", {"pixel_format": "yuv422p", "options": {"profile": "dnxhr_lb"}, "size_wh": (256, 144)}),
    "mpeg2_422.mxf": ("mpeg2video", {"pixel_format": "yuv422p", "options": {"g": "12", "bf": "2"}}),
    "ffv1_444.mkv": ("ffv1", {"pixel_format": "yuv444p"}),
    "animation_rgb.mov": ("qtrle", {"pixel_format": "rgb24"}),
    "mjpeg.avi": ("mjpeg", {"pixel_format": "yuvj420p"}),
    "fragmented.mp4": ("libx264", {"options": {"g": "20"}, "muxer": {"movflags": "frag_keyframe+empty_moov"}}),
    "bare.h264": ("libx264", {"options": {"g": "20", "bf": "2"}}),
    "flash.flv": ("flv1", {"options": {"g": "20"}}),
    "windows.wmv": ("wmv2", {"options": {"g": "20"}}),
}


def shown(path, info=None, **span):
    info = info or probe(path)
    span = {"start": 0.0, "end": 1e9} | span
    return {frame.instant: number_of(frame.luma((96, 54))) for frame in read_frames(path, info, **span)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_instant_shows_its_frame_and_any_span_the_same(tmp_path, kind):
    codec, settings = KINDS[kind]
    path = write_film(tmp_path / kind, codec, **settings)
    info = probe(path)
    whole = shown(path, info)
    late = round(info.video.start * 25)  # muxers that allow no negative stamps delay all
    assert whole == {number + late: number for number in range(75)}
    for start, end in ((0.4, 0.9), (1.0, 1.04), (1.9, 2.5), (2.52, 99.0)):
        part = shown(path, info, start=start, end=end, threads=2)
        assert part == {i: n for i, n in whole.items() if start - 1e-9 <= i / 25 < end - 1e-9}


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50), Fraction(60), Fraction(12)])
def test_other_rates_give_the_nearest_frame(tmp_path, rate):
    path = write_film(tmp_path / "rate.mp4", rate=rate, count=100)
    times = np.arange(100) / float(rate)
    for instant, number in shown(path).items():
        assert abs(times[number] - instant / 25) <= np.abs(times - instant / 25).min() + 1e-6


def test_blocks_with_overlap_equal_one_pass(tmp_path):
    path = write_film(tmp_path / "long.ts", "mpeg2video", count=240, rate=Fraction(30000, 1001), options={"g": "15", "bf": "2"})
    info = probe(path)
    whole = shown(path, info)
    for mark in range(4):
        part = shown(path, info, start=2 * mark - 1, end=2 * mark + 3)
        assert part == {i: n for i, n in whole.items() if 2 * mark - 1 <= i / 25 < 2 * mark + 3}


def test_variable_rate_holds_a_frame_as_long_as_it_stands(tmp_path):
    stamps = [0, 1, 2, 3, 60, 61, 62, 63, 64]  # at 25 Hz: the fourth frame stands for 57 instants
    path = write_film(tmp_path / "slides.mkv", count=len(stamps), stamps=stamps, muxer={"default_mode": "passthrough"})
    seen = shown(path)
    assert [seen[k] for k in (0, 1, 2, 3, 10)] == [0, 1, 2, 3, 3]
    assert [seen[k] for k in (60, 61, 64)] == [4, 5, 8]


def test_frames_stay_valid_when_kept(tmp_path):
    path = write_film(tmp_path / "kept.mp4", count=75)
    kept = list(read_frames(path, probe(path), start=0, end=9, threads=2))
    assert [number_of(frame.luma((96, 54))) for frame in kept] == list(range(75))


def test_interlaced_pictures_are_woven_and_any_span_is_the_same(tmp_path):
    path = write_film(tmp_path / "fields.ts", "mpeg2video", options={"flags": "+ildct+ilme", "g": "12", "bf": "2"})
    info = probe(path)
    assert info.video.interlaced
    whole = {f.instant: f.luma((192, 108)) for f in read_frames(path, info, start=0, end=9)}
    part = {f.instant: f.luma((192, 108)) for f in read_frames(path, info, start=1.3, end=2.1)}
    assert [number_of(whole[k]) for k in sorted(whole)] == list(range(75))
    assert sorted(part) == list(range(33, 53))
    assert all(np.array_equal(part[k], whole[k]) for k in part)


def test_without_picture_nothing_comes(tmp_path):
    from tests.unit.media.films import babble, write_sound

    path = write_sound(tmp_path / "talk.wav", ("pcm_s16le", 16000, "mono", babble(1, 16000)[None]))
    assert list(read_frames(path, probe(path), start=0, end=9)) == []


def test_damage_leaves_the_rest_and_any_span_and_threads_the_same(tmp_path):
    path = write_film(tmp_path / "hurt.mp4", count=150, options={"g": "25", "bf": "2"}, muxer={"movflags": "faststart"})
    info = probe(path)
    raw = bytearray(path.read_bytes())
    begin = raw.index(b"mdat") + 4
    for k in range(begin + (len(raw) - begin) * 2 // 5, begin + (len(raw) - begin) // 2):
        raw[k] = (raw[k] * 7 + k) % 256
    path.write_bytes(raw)

    def pictures(**span):
        return {f.instant: f.luma((48, 27)) for f in read_frames(path, info, **span)}

    whole = pictures(start=0, end=9)
    assert {0, 149} <= set(whole)
    for span in ({"start": 0, "end": 9, "threads": 2}, {"start": 2.0, "end": 3.5, "threads": 2}, {"start": 2.6, "end": 4}):
        part = pictures(**span)
        assert set(part) == {i for i in whole if span["start"] <= i / 25 < span["end"]}
        assert all(np.array_equal(part[i], whole[i]) for i in part)


@pytest.mark.media
def test_each_variant_shows_the_base_at_each_instant(media):
    folder = media / "clips" / "derived"
    base = np.stack([f.luma((64, 36)) for f in _read(folder / "base_2997fps.mp4")]).astype(np.int16)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("talker"):
            continue
        shift = {"video_late_400ms_container.mp4": 10, "fragmented.mp4": 2, "mpeg4_mp3.avi": 1}.get(path.name, 0)
        frames = {f.instant: f.luma((64, 36)).astype(np.int16) for f in _read(path)}
        offsets = []
        for instant, luma in frames.items():
            near = range(max(0, instant - shift - 3), min(len(base), instant - shift + 4))
            if near:
                distances = [np.abs(base[k] - luma).mean() for k in near]
                offsets.append(near[int(np.argmin(distances))] - (instant - shift))
        assert np.mean(np.abs(offsets) <= 1) > 0.9, path.name


def _read(path):
    return read_frames(path, probe(path), start=0, end=1e9)
