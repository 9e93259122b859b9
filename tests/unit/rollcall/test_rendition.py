from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from asd_core.errors import Unsupported
from rollcall.exports.overlay import GREEN, RED, Overlay
from rollcall.exports.rendition import write_rendition
from tests.unit.rollcall.made_analysis import HEIGHT, NAMES, WIDTH, made_analysis
from tests.unit.rollcall.test_document import made_document


def write_grey_clip(path, *, video_start=0.0, audio_start=0.0, seconds=4.0, rotation=0):
    """A grey picture that grows lighter, with a tone; both may begin late."""
    with av.open(str(path), "w") as clip:
        picture = clip.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.time_base = picture.codec_context.time_base = Fraction(1, 1000)
        sound = clip.add_stream("aac", rate=48000, layout="stereo")
        for i in range(int(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 40 + i, np.uint8), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round((video_start + i / 25) * 1000), Fraction(1, 1000)
            clip.mux(picture.encode(frame))
        tone = (0.2 * np.sin(np.arange(1024) * 0.1)).astype(np.float32)
        for i in range(int(seconds * 48000) // 1024):
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, round(audio_start * 48000) + i * 1024, Fraction(1, 48000)
            clip.mux(sound.encode(frame))
        clip.mux(picture.encode(None))
        clip.mux(sound.encode(None))
    return path


def read_back(path):
    with av.open(str(path)) as clip:
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in clip.decode(video=0)]
    with av.open(str(path)) as clip:
        sound = [(float(f.pts * f.time_base), np.abs(f.to_ndarray()).max()) for f in clip.decode(audio=0)] if clip.streams.audio else []
    return frames, sound


def test_copy_keeps_time_and_sound(tmp_path):
    source = write_grey_clip(tmp_path / "a.mkv")
    write_rendition(source, made_analysis().info, tmp_path / "b.mp4", audio_track=1)
    frames, sound = read_back(tmp_path / "b.mp4")
    assert len(frames) == 100
    assert np.allclose([t for t, _ in frames], np.arange(100) / 25, atol=1e-3)
    assert frames[50][1].mean() == pytest.approx(90, abs=3)
    assert sound[-1][0] == pytest.approx(4.0, abs=0.08)
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_late_picture_and_late_sound_begin_at_zero_all_the_same(tmp_path):
    info = made_analysis().info
    late_picture = write_grey_clip(tmp_path / "p.mkv", video_start=0.4)
    write_rendition(late_picture, info, tmp_path / "p.mp4", audio_track=1)
    frames, _ = read_back(tmp_path / "p.mp4")
    assert frames[0][0] == 0
    assert frames[0][1].max() < 20
    assert frames[1][0] == pytest.approx(0.4, abs=0.002)
    late_sound = write_grey_clip(tmp_path / "s.mkv", audio_start=0.52)
    write_rendition(late_sound, info, tmp_path / "s.mp4", audio_track=1)
    _, sound = read_back(tmp_path / "s.mp4")
    assert min(t for t, level in sound if level > 0.05) == pytest.approx(0.52, abs=0.05)


def test_origin_is_taken_off(tmp_path):
    source = write_grey_clip(tmp_path / "o.mkv", video_start=5.0, audio_start=5.0)
    write_rendition(source, replace(made_analysis().info, origin=5.0), tmp_path / "o.mp4", audio_track=1)
    frames, sound = read_back(tmp_path / "o.mp4")
    assert frames[0][0] == 0
    assert frames[0][1].mean() == pytest.approx(40, abs=3)
    assert min(t for t, level in sound if level > 0.05) == pytest.approx(0.0, abs=0.05)


def test_turned_and_shrunk(tmp_path):
    source = write_grey_clip(tmp_path / "r.mkv", seconds=0.4)
    info = made_analysis().info
    info = replace(info, video=replace(info.video, rotation=90, width=HEIGHT, height=WIDTH))
    write_rendition(source, info, tmp_path / "r.mp4", audio_track=None, longest_side=160)
    frames, sound = read_back(tmp_path / "r.mp4")
    assert frames[0][1].shape == (160, 90, 3)
    assert sound == []


def test_neither_picture_nor_sound(tmp_path):
    with pytest.raises(Unsupported):
        write_rendition(tmp_path / "x.mp4", replace(made_analysis().info, video=None), tmp_path / "y.mp4", audio_track=None)


def test_overlay_boxes_are_green_while_the_face_speaks():
    overlay = Overlay(made_document(names=NAMES), made_analysis().info)
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    drawn = overlay.draw(grey, 0.4)
    assert drawn.shape[1] == WIDTH
    assert drawn.shape[0] > HEIGHT
    assert drawn.shape[0] % 2 == 0
    box = made_document()["tracks"][0]["boxes"][10]
    assert tuple(drawn[100, round(box[0])]) == GREEN
    assert tuple(drawn[100, round(made_document()["tracks"][1]["boxes"][10][0])]) == RED
    assert tuple(overlay.draw(grey, 0.1)[100, round(made_document()["tracks"][0]["boxes"][2][0])]) == RED
    assert (grey == 90).all()


def test_overlay_strip_shows_turns_and_the_present():
    overlay = Overlay(made_document(names=NAMES), made_analysis().info)
    first, later = (overlay.draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), time)[HEIGHT:] for time in (0.0, 2.0))
    cursor = np.flatnonzero((later == 255).all(axis=(0, 2)))
    assert 0.5 < cursor.mean() / WIDTH < 0.65
    assert (first != later).any()


def test_overlay_without_people_still_draws():
    doc = made_document()
    doc.update(people=[], tracks=[], turns=[])
    assert Overlay(doc, made_analysis().info).draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1.0).shape[1] == WIDTH
