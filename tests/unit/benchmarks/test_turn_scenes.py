"""Made scenes: the truth adds up, the same seed gives the same scenes, and errors are counted as they are."""

import json

import numpy as np
import pytest

from asd_core.speech.activity import INSTANT_SAMPLES
from benchmarks.calibrate_turns import fit_calibration
from benchmarks.labelled_tracks import LabelledTrack, digest, kept, read_tracks
from benchmarks.turn_scenes import KINDS, STYLES, make_scenes
from benchmarks.turn_trials import tally
from benchmarks.turn_truth import EDGE, Face, Scene, others_heard


@pytest.fixture(scope="module")
def tracks():
    """Five people, two tracks each, who talk, are silent (but for the last), and are unsure for a while; two of one clip are seen together."""
    rng = np.random.default_rng(7)
    made = []
    for number in range(10):
        label = np.concatenate([np.repeat([0, 1, 1, 0, 1], 30), np.full(5, -1), np.ones(60)]).astype(np.int8)
        label = np.roll(label, 30 * number)
        if number >= 8:
            label[label == 0] = 1
        loud = np.repeat(label == 1, INSTANT_SAMPLES)
        sound = (rng.standard_normal(len(loud)) * 3000 * loud).astype(np.int16)
        voice = np.where(label == 1, 0.9, np.where(label == 0, 0.02, 0.3)).astype(np.float32)
        clip, first = (f"c{number}", 0) if number > 1 else ("together", 50 * number)
        made.append(LabelledTrack(f"{clip}_{number}", f"person{number // 2}", False, clip, first, label, voice, sound))
    return made


@pytest.fixture(scope="module")
def scenes(tracks):
    return make_scenes(tracks, seed=3, each=2)


def test_the_same_seed_gives_the_same_scenes(tracks, scenes):
    again = make_scenes(tracks, seed=3, each=2)
    assert [scene.kind for scene in again] == [scene.kind for scene in scenes]
    for one, other in zip(scenes, again, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(one.truth(), other.truth())
        assert all(np.array_equal(a.source, b.source) for a, b in zip(one.faces, other.faces, strict=True))
    assert digest(*(s.samples for s in scenes)) != digest(*(s.samples for s in make_scenes(tracks, seed=4, each=2)))


def test_every_kind_is_there_and_every_length_agrees(tracks, scenes):
    assert {scene.kind for scene in scenes} == set(KINDS)
    assert sum(scene.kind == "recorded" for scene in scenes) == 9
    for scene in scenes:
        instants = len(scene.unseen)
        assert len(scene.samples) == instants * INSTANT_SAMPLES
        assert scene.truth().shape == (len(scene.faces) + 1, instants)
        for face in scene.faces:
            assert len(face.source) == len(face.speaks) <= instants - face.first
            assert {tracks[i].person for i in np.unique(face.source[:, 0])} == {face.person}
        for person in {face.person for face in scene.faces} if scene.kind != "recorded" else ():
            shown = np.zeros(instants, int)
            for face in scene.faces:
                shown[face.first : face.first + len(face.speaks)] += face.person == person
            assert shown.max() == 1
            assert person == "person4" or shown.min() == 1


def test_who_speaks_is_shown_speaking(tracks, scenes):
    for scene in scenes:
        for face in scene.faces:
            shown = np.array([tracks[i].label[at] for i, at in face.source])
            assert (shown[face.speaks == 1] == 1).all()
            if scene.kind in ("alternating", "overlapping", "out_of_sight"):
                assert (shown[face.speaks == 0] <= 0).all()


def test_the_sound_is_loud_where_somebody_speaks_and_only_there(scenes):
    for scene in scenes:
        if scene.kind == "recorded" or STYLES[scene.kind].bed:
            continue
        level = np.sqrt(np.square(scene.samples.reshape(-1, INSTANT_SAMPLES).astype(float)).mean(axis=1))
        truth, scored = scene.truth(), scene.scored()
        assert level[scored & (truth == 1).any(axis=0)].min() > 3 * level[scored & (truth == 0).all(axis=0)].max()


def test_kinds_are_what_they_are_called(tracks, scenes):
    def speaking(kind):
        return [(scene.truth() == 1).sum(axis=0) for scene in scenes if scene.kind == kind]

    for kind in ("alternating", "out_of_sight", "noisy", "foreign_lips"):
        assert max(voices.max() for voices in speaking(kind)) == 1
    assert all(voices.max() == 2 for voices in speaking("overlapping"))
    assert all((s.unseen == 1).any() for s in scenes if s.kind in ("out_of_sight", "foreign_lips"))
    lips = [
        sum(tracks[i].label[at] == 1 and says == 0 for f in s.faces for (i, at), says in zip(f.source, f.speaks, strict=True))
        for s in scenes
        if s.kind == "foreign_lips"
    ]
    assert min(lips) > 25


def test_a_voice_is_out_of_sight_where_all_faces_are_surely_silent():
    labels = np.array([[0, 0, 0, 1, -1, -1], [0, 0, 0, 0, 0, 1]], np.int8)
    voice = np.array([0.9, 0.3, 0.0, 0.9, 0.9, 0.9])
    assert others_heard(labels, voice).tolist() == [1, -1, 0, 0, -1, 0]


def test_unsure_instants_and_edges_are_not_scored():
    speaks = np.array([0] * 10 + [1] * 10 + [-1] * 3 + [1] * 10, np.int8)
    scene = Scene("", np.zeros(33 * INSTANT_SAMPLES, np.int16), (Face("a", 0, np.zeros((33, 2), int), speaks),), np.zeros(33, np.int8))
    expected = np.ones(33, bool)
    expected[10 - EDGE : 10 + EDGE] = expected[20 - EDGE : 23 + EDGE] = False
    assert scene.scored().tolist() == expected.tolist()


def test_errors_are_counted_as_they_are(scenes):
    scene = next(scene for scene in scenes if scene.kind == "overlapping")
    true = scene.truth() == 1
    right = tally(scene, true)
    assert (right.error_rate, right.changes, right.two_found) == (0, right.true_changes, right.two_true)
    assert right.two_true > 0
    nothing = tally(scene, np.zeros_like(true))
    assert (nothing.missed, nothing.false_alarm, nothing.confusion) == (nothing.reference, 0, 0)
    assert right.reference == nothing.reference > 0
    swapped = tally(scene, np.roll(true, 1, axis=0))
    assert swapped.confusion > 0
    assert swapped.missed == swapped.false_alarm == 0
    everything = tally(scene, np.ones_like(true))
    assert everything.missed == everything.confusion == 0
    assert everything.false_alarm == pytest.approx(len(true) * right.seconds - right.reference)


def test_a_known_calibration_is_found_again():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 40_000)
    speaks = rng.random(40_000) < 1 / (1 + np.exp(-(1.5 * logits - 0.7)))
    found = fit_calibration(logits, speaks)
    assert (found.slope, found.offset) == (pytest.approx(1.5, abs=0.08), pytest.approx(-0.7, abs=0.08))


def test_what_is_kept_is_made_once(tmp_path):
    assert kept(tmp_path / "a" / "b.npz", lambda: {"x": np.arange(3)})["x"].tolist() == [0, 1, 2]
    assert kept(tmp_path / "a" / "b.npz", lambda: pytest.fail("made twice"))["x"].tolist() == [0, 1, 2]


@pytest.mark.train
def test_no_validation_person_is_among_the_trained(train, tmp_path):
    told = [track for part in ("", "_2") for track in json.loads((train / "asd" / f"manifest{part}.json").read_text())["tracks"]]
    trained = {track["person"] for track in told if track["split"] == "train"}
    validation = read_tracks(train / "asd", tmp_path, "validation")
    assert len(validation) > 40
    assert all(track.validation for track in validation)
    assert not trained & {face.person for scene in make_scenes(validation, each=1) for face in scene.faces}
