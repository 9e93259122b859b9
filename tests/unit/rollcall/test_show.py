import pytest

from rollcall.cli.search import frame_of
from rollcall.cli.show import plain, reason_words, share
from rollcall.shown import clock


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00.0"), (59.96, "1:00.0"), (75.25, "1:15.3"), (3599.99, "1:00:00.0"), (3661.5, "1:01:01.5"), (None, "")]
)
def test_clock(seconds, words):
    assert clock(seconds) == words


def test_names_cannot_steer_a_terminal():
    assert plain("a\x1b[31mred\x07\nb\u202ec") == "a [31mred b c"


def test_share_of_nothing_is_nothing():
    assert share(1, 0) == ""
    assert share(1, 3) == "33 %"


def test_reason_does_not_repeat_the_name():
    assert reason_words("news/a.mp4", "a.mp4: not media") == "not media"
    assert reason_words("a.mp4", None) == ""


def test_frame_of_a_video_and_names_with_an_at_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me@12.5").write_bytes(b"")
    assert frame_of("clip.mp4@12.5")[1] == 12.5
    assert str(frame_of("clip.mp4@12.5")[0]) == "clip.mp4"
    assert frame_of("me@12.5")[1] is None
    assert frame_of("me@home.jpg")[1] is None
    assert frame_of("photo.jpg")[1] is None
