"""MFCC rows are those of python_speech_features, however the sound arrives."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.speech.mfcc import HOP, WINDOW, MfccStream, mfcc_rows


def reference(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = pytest.importorskip("python_speech_features", reason="the oracle comes with the `dev` extra")
        return oracle.mfcc(samples, 16000, numcep=13, winlen=0.025, winstep=0.010).astype(np.float32)


@pytest.mark.parametrize("length", [1, 399, 400, 401, 560, 561, 16000, 165_037])
def test_rows_equal_the_oracle_bit_by_bit(length):
    samples = np.random.default_rng(length).integers(-30000, 30000, length).astype(np.int16)
    np.testing.assert_array_equal(mfcc_rows(samples), reference(samples))


def test_a_chirp_gives_the_recorded_row():
    t = np.arange(16000) / 16000
    chirp = (8000 * np.sin(2 * np.pi * (200 * t + 600 * t * t))).astype(np.int16)
    rows = mfcc_rows(chirp)
    assert rows.shape == (99, 13)
    np.testing.assert_allclose(rows[0, :5], [17.7269, 24.7363, 16.5315, 11.1575, 5.3656], atol=1e-4)


def test_no_samples_give_no_rows():
    assert mfcc_rows(np.zeros(0, np.int16)).shape == (0, 13)


def test_rows_past_the_end_are_those_of_silence():
    silence = mfcc_rows(np.zeros(WINDOW, np.int16))
    rows = mfcc_rows(np.full(HOP, 1000, np.int16), rows=8)
    np.testing.assert_array_equal(rows[1:], np.repeat(silence, 7, axis=0))


def test_sound_beyond_the_last_row_is_left_out():
    samples = np.random.default_rng(1).integers(-3000, 3000, 400_000).astype(np.int16)
    stream = MfccStream()
    rows = np.concatenate([stream.push(samples), stream.finish(1200)])
    assert len(rows) == 2000  # one block more than asked for had been computed already; the caller cuts
    np.testing.assert_array_equal(mfcc_rows(samples, rows=1200), rows[:1200])


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 200_000), max_size=12), seed=st.integers(0, 99))
def test_chunks_of_any_length_give_the_same_rows(cuts, seed):
    samples = np.random.default_rng(seed).integers(-30000, 30000, 200_000).astype(np.int16)
    stream = MfccStream()
    pieces = [stream.push(piece) for piece in np.split(samples, sorted(cuts))]
    whole = mfcc_rows(samples)
    np.testing.assert_array_equal(np.concatenate([*pieces, stream.finish(len(whole))]), whole)
