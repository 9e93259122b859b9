import hashlib
import json

import av
import numpy as np
import pytest

from asd_core.demo.programmes import make_programmes
from asd_core.demo.script import Line, Scene
from asd_core.demo.truth import load_truth, truth_path

SHORT = {"short": (Scene("wall", ("collins",), (Line("collins", 0.3, 2),), tail=0.2, photograph="hopper"), Scene("title", (), tail=0.4))}


@pytest.fixture
def short(tmp_path):
    return lambda folder="a", **options: make_programmes(tmp_path / folder, episodes=1, plays=SHORT, **options)[0]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_programme_is_what_its_truth_says(short):
    programme = short()
    with av.open(str(programme.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.average_rate, video.codec_context.name) == (1280, 720, 25, "h264")
        assert audio.codec_context.name == "aac"
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video)]
    assert len(frames) == round(programme.truth.duration * 25)
    jumps = [number for number in range(1, len(frames)) if np.abs(frames[number].astype(int) - frames[number - 1]).mean() > 20]
    assert [number / 25 for number in jumps] == [shot.start for shot in programme.truth.shots[1:]]
    assert load_truth(programme.path) == programme.truth


def test_the_photograph_hangs_still(short):
    programme = short()
    left, top, right, bottom = map(int, programme.truth.stills[0].box)
    with av.open(str(programme.path)) as container:
        hung = [
            f.to_ndarray(format="gray")[top:bottom, left:right].astype(int)
            for f in container.decode(video=0)
            if f.time < programme.truth.stills[0].end
        ]
    assert max(np.abs(picture - hung[0]).mean() for picture in hung) < 1.5


def test_the_same_bytes_each_time_and_nothing_made_twice(short):
    programme = short()
    before = programme.path.stat().st_mtime_ns
    assert short().path.stat().st_mtime_ns == before
    assert digest(short("b").path) == digest(programme.path)
    assert digest(short("c", seed=1).path) != digest(programme.path)


def test_a_damaged_programme_is_made_again(short):
    programme = short()
    whole = digest(programme.path)
    programme.path.write_bytes(programme.path.read_bytes()[:-100])
    assert digest(short().path) == whole
    truth_path(programme.path).write_text(json.dumps({"schema": "something else"}))
    assert digest(short().path) == whole
    assert not list(programme.path.parent.glob("*.part*"))
