from dataclasses import replace

import pytest

from rollcall.web.playable import media_type
from tests.unit.rollcall.made_analysis import made_analysis

INFO = made_analysis().info
VIDEO, SOUND = INFO.video, INFO.audio_tracks[0]


def with_video(**changes):
    return replace(INFO, video=replace(VIDEO, **changes))


def test_plain_mp4_and_webm_play_as_they_are():
    assert media_type(INFO, 1, ".mp4") == "video/mp4"
    webm = replace(with_video(codec="vp9"), container="matroska,webm", audio_tracks=(replace(SOUND, codec="opus"),))
    assert media_type(webm, 1, ".webm") == "video/webm"
    assert media_type(webm, 1, ".mkv") is None


@pytest.mark.parametrize(
    "info",
    [
        with_video(codec="hevc"),
        with_video(codec="mpeg4"),
        with_video(pixel_format="yuv420p10le"),
        with_video(interlaced=True),
        with_video(start=0.4),
        with_video(sample_aspect=1.422),
        replace(INFO, origin=5.0),
        replace(INFO, container="mpegts"),
        replace(INFO, container="avi"),
        replace(INFO, audio_tracks=(replace(SOUND, codec="pcm_s16le"),)),
        replace(INFO, audio_tracks=(replace(SOUND, channels=6),)),
        replace(INFO, audio_tracks=(replace(SOUND, start=0.52),)),
    ],
)
def test_everything_else_needs_a_copy(info):
    assert media_type(info, 1, ".mp4") is None


def test_chosen_sound_must_be_the_one_that_browsers_play():
    two = replace(INFO, audio_tracks=(SOUND, replace(SOUND, index=2, default=False)))
    assert media_type(two, 1, ".mp4") == "video/mp4"
    assert media_type(two, 2, ".mp4") is None


def test_picture_alone_plays():
    assert media_type(replace(INFO, audio_tracks=()), None, ".mp4") == "video/mp4"
