"""The speaking networks give their recorded numbers, and windows leave no seams."""

import io
import json
import zipfile

import av
import numpy as np
import pytest

from asd_core.models.session import open_session
from asd_core.records import Track
from asd_core.speech.listen import listen
from asd_core.speech.score import open_speaking, score_tracks

PUBLIC = [pytest.param(name, marks=pytest.mark.models) for name in ("lrasd_ava", "lrasd_talkset")]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_three_parts_give_the_recorded_numbers(name, find_model, models_folder):
    network = open_speaking(find_model("speaking", name), open_session)
    golden = json.loads((models_folder / "golden.json").read_text())["speaking"][name]
    visual = network.visual(np.random.RandomState(0).randint(0, 256, (1, 50, 112, 112)))
    audio = network.audio(np.random.RandomState(1).randn(1, 200, 13) * 8)
    np.testing.assert_allclose(visual[0, 0, :4], golden["visual[0,0,:4]"], atol=1e-4)
    np.testing.assert_allclose(audio[0, 0, :4], golden["audio[0,0,:4]"], atol=1e-4)
    np.testing.assert_allclose(network.head(audio, visual)[0, :5], golden["score[0]"][:5], atol=2e-4)


def piece_of_a_talker(train):
    """Return nine seconds of a training track: crops (230, 112, 112) and its samples."""
    with zipfile.ZipFile(train / "asd" / "tracks.zip") as stored:
        members = {e["name"]: e for e in json.loads((train / "asd" / "manifest.json").read_text())["tracks"]}
        chosen = next(e for e in members.values() if e["kind"] == "talking_head" and e["frames"] >= 250)
        container = av.open(io.BytesIO(stored.read(chosen["file"])))
    frames, samples = [], []
    resampler = av.AudioResampler("s16", "mono", 16000)
    for packet in container.demux():
        for decoded in packet.decode():
            if isinstance(decoded, av.VideoFrame):
                frames.append(decoded.to_ndarray(format="gray")[56:168, 32:144])
            else:
                samples.extend(piece.to_ndarray()[0] for piece in resampler.resample(decoded))
    return np.stack(frames[:230]), np.concatenate(samples)[: 230 * 640]


@pytest.mark.train
@pytest.mark.parametrize("name", ["rollcall_sync", *PUBLIC])
def test_a_shift_of_half_a_second_hardly_changes_logits(name, find_model, train):
    network = open_speaking(find_model("speaking", name), open_session)
    crops, samples = piece_of_a_talker(train)
    visual = network.encode_visual(crops)

    def scored(first):
        """Logits of the instants from `first` on, of a track and a clip that begin there."""
        sound = listen([samples[first * 640 :]], (230 - first) / 25)
        track = Track("t1", 0, 0, np.zeros((230 - first, 4), np.float32), np.ones(230 - first, bool), False)
        return score_tracks([track], [visual[first:]].__getitem__, sound, network).logits[0]

    whole, later = scored(0)[12:], scored(12)
    change = np.abs(whole - later)
    assert np.median(change) < 0.1
    assert np.mean((whole > 0) != (later > 0)) < 0.04
