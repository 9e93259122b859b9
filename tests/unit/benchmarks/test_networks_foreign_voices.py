"""The committed list of own and foreign voices is fair: nobody is his own foreign voice, and one sense alone tells nothing."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from asd_core.records import Sound, Track
from benchmarks.networks import foreign_voices as voices
from benchmarks.networks.foreign_voices import Piece
from benchmarks.networks.material import Clip
from benchmarks.networks.speaking import own_against_foreign

PIECES, PAIRS = voices.read_list()


def test_no_own_voice_and_no_other_part_of_the_same_programme():
    for a, b in PAIRS:
        assert PIECES[a].person != PIECES[b].person
        assert PIECES[a].programme != PIECES[b].programme


def test_the_list_is_what_the_seed_gives():
    assert voices.make_pairs(PIECES) == PAIRS
    assert all(a < b for a, b in PAIRS)
    assert len(set(PAIRS)) == len(PAIRS)


def test_every_piece_has_several_foreign_voices():
    partners = Counter(number for pair in PAIRS for number in pair)
    assert set(partners) == set(range(len(PIECES)))
    assert min(partners.values()) >= voices.ROUNDS - 2
    assert max(partners.values()) <= voices.ROUNDS


def test_pieces_are_of_talkers_and_do_not_overlap():
    for piece in PIECES:
        assert piece.person in voices.TALKERS[piece.clip]
    for left, right in pairwise(sorted(PIECES, key=lambda p: (p.clip, p.person, p.first))):
        assert (left.clip, left.person) != (right.clip, right.person) or right.first >= left.first + voices.INSTANTS


def made_marks(score):
    heard = [np.random.default_rng(number).random(voices.INSTANTS) < 0.7 for number in range(len(PIECES))]
    return own_against_foreign(score, PAIRS, heard, [piece.person for piece in PIECES])


def noise_of(*seed):
    return np.random.default_rng(seed).normal(size=voices.INSTANTS).astype(np.float32)


def test_who_only_hears_is_at_a_half_exactly():
    assert made_marks(lambda picture, sound: noise_of(sound) + sound)["area"] == 0.5


def test_who_only_sees_is_at_a_half_exactly():
    assert made_marks(lambda picture, sound: noise_of(picture) + picture)["area"] == 0.5


def test_who_brings_both_together_is_right():
    told = made_marks(lambda picture, sound: np.full(voices.INSTANTS, 1.0 if picture == sound else -1.0, np.float32))
    assert told["area"] == told["within"] == 1.0
    assert (told["own_above"], told["foreign_above"]) == (1.0, 0.0)
    assert set(told["by_person"]) == {piece.person for piece in PIECES}


def made_clip():
    """Return ten seconds: p speaks from 1 s to 6 s, q from 5 s on; sound as loud as its sample number is high, voiced before 8 s."""
    instants = 250
    track = Track("t1", 0, 0, np.zeros((instants, 4), np.float32), np.ones(instants, np.bool_), still=False)
    truth = {"confidence": "vad", "speech": [{"person": "p", "start": 1.0, "end": 6.0}, {"person": "q", "start": 5.0, "end": 10.0}]}
    samples = np.round(1000 * np.sin(np.arange(instants * 640))).astype(np.int16)
    activity = np.where(np.arange(instants) < 200, 0.9, 0.1).astype(np.float32)
    sound = Sound(0, np.zeros((4 * instants, 13), np.float32), activity, np.zeros(instants, np.float32), (), ())
    return Clip("made", truth, (track,), (), (), ("p",), samples, sound)


def test_voiced_is_where_one_person_alone_is_heard():
    found = voices.voiced(Piece("made", "p", 0), made_clip())
    assert np.flatnonzero(found).tolist() == list(range(25, 125))
    later = voices.voiced(Piece("made", "q", 125), made_clip())
    assert np.flatnonzero(later).tolist() == list(range(25, 75))  # alone from 6 s, heard before 8 s


def test_voices_are_brought_to_one_level():
    piece = Piece("made", "p", 0)
    cut = voices.levelled(piece, made_clip()).astype(float)
    assert len(cut) == voices.INSTANTS * 640
    assert np.sqrt(np.square(cut[25 * 640 :]).mean()) == pytest.approx(voices.LEVEL, rel=0.01)


def test_a_second_off_stays_on_the_track():
    assert voices.a_second_off(Piece("made", "p", 0), made_clip()) == Piece("made", "p", 25)
    assert voices.a_second_off(Piece("made", "p", 120), made_clip()) == Piece("made", "p", 95)


def test_a_list_that_no_longer_fits_the_tracks_is_refused():
    assert voices.track_of(Piece("made", "p", 100), made_clip()) == 0
    with pytest.raises(LookupError, match="make the list anew"):
        voices.track_of(Piece("made", "p", 200), made_clip())
