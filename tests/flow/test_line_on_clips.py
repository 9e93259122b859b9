"""The whole line, real networks on real clips with truth: who spoke when, and who certainly did not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from asd_core.analysis import analyse_clip
from asd_core.evaluate.diarization import score_diarization
from asd_core.look import look, spans_of_marks
from asd_core.media.probe import probe
from asd_core.records import Span
from asd_core.stitch import chip_faces, stitch, visual_features

pytestmark = pytest.mark.media


def on_screen(analysis):
    return [(turn.people_id, Span(turn.start, turn.end)) for turn in analysis.turns if turn.on_screen]


def people_from_left(analysis):
    """Return the ids of the people of an asset by where their first track stands."""
    tracks = {track.id: track for track in analysis.tracks}
    return [p.id for p in sorted(analysis.people.people, key=lambda p: float(tracks[p.track_ids[0]].boxes[:, 0].mean()))]


def test_three_people_on_a_stage(networks, media):
    analysis = analyse_clip(media / "clips" / "three_on_stage_msdwild00001.mp4", networks)
    truth = json.loads((media / "truth" / "three_on_stage_msdwild00001.json").read_text())
    said = [(s["person"], Span(s["start"], s["end"])) for s in truth["speech"]]
    left, middle, right = people_from_left(analysis)
    names = {left: "msd_left", middle: "msd_mid", right: "msd_right"}
    score = score_diarization(said, [(names[who], span) for who, span in on_screen(analysis)], collar=0.25)
    assert dict(score.mapping).get("msd_mid", "msd_mid") == "msd_mid"
    assert score.error_rate < 0.25


def test_a_silent_listener_never_has_the_turn(networks, media):
    analysis = analyse_clip(media / "clips" / "split_listener_and_talker_constructed.mp4", networks)
    listener, talker = people_from_left(analysis)
    assert {who for who, _ in on_screen(analysis)} == {talker} != {listener}


def test_no_sound_gives_appearances_and_no_turns(networks, media):
    analysis = analyse_clip(media / "clips" / "webcam_noaudio_man_1.mp4", networks)
    assert analysis.turns == () and analysis.speech == () and analysis.audio_track is None
    assert len(analysis.people.people) == 1


def test_no_people_is_a_result(networks, media):
    analysis = analyse_clip(media / "clips" / "nopeople_car_road.mp4", networks)
    assert analysis.tracks == () and analysis.people.people == () and analysis.turns == ()


def test_spans_of_ten_seconds_equal_the_whole(networks, media):
    path = media / "clips" / "derived" / "base_2997fps.mp4"
    info = probe(path)
    looks = [
        [look(path, info, marks, detector=networks.detector, encoder=networks.speaking) for marks in spans_of_marks(info, step)] for step in (None, 1)
    ]
    whole, parts = (stitch(found, info) for found in looks)
    block, block_apart = ({block.mark: block for one in found for block in one.blocks}.__getitem__ for found in looks)
    assert [(t.id, t.first, len(t)) for t in whole.tracks] == [(t.id, t.first, len(t)) for t in parts.tracks]
    for left, right in zip(whole.tracks, parts.tracks, strict=True):
        np.testing.assert_array_equal(left.boxes, right.boxes)
    for left, right in zip(whole.pieces, parts.pieces, strict=True):
        np.testing.assert_array_equal(visual_features(left, block), visual_features(right, block_apart))
        np.testing.assert_array_equal(chip_faces(left, block), chip_faces(right, block_apart))
