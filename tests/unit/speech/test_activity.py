"""Speech activity lies on the grid, and its spans follow the trigger's rules."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.records import Span
from asd_core.speech.activity import ActivityOptions, ActivityStream, resample_to_instants, runs, speech_spans


class Loudness:
    """A voice detector that takes anything loud for speech, and counts how often it had to start afresh."""

    def __init__(self):
        self.resets = 0
        self.heard = 0

    def process_chunk(self, audio):
        self.heard += 1
        return float(np.abs(np.frombuffer(audio, np.int16)).mean() > 500)

    def reset(self):
        self.resets += 1


def activity_of(samples, instants, sizes=(1024,)):
    stream = ActivityStream(Loudness())
    at = 0
    while at < len(samples):
        for size in sizes:
            stream.push(samples[at : at + size])
            at += size
    return stream.finish(instants)


def test_nothing_heard_is_silence():
    probabilities, level = activity_of(np.zeros(0, np.int16), 3)
    assert probabilities.tolist() == [0, 0, 0]
    assert level.tolist() == [-120, -120, -120]


def test_no_instants():
    probabilities, level = activity_of(np.zeros(100, np.int16), 0)
    assert len(probabilities) == len(level) == 0


def test_speech_stands_where_it_is_heard():
    samples = np.zeros(16000 * 4, np.int16)
    samples[16000:32000] = 5000
    probabilities, level = activity_of(samples, 100)
    assert np.flatnonzero(probabilities > 0.5).tolist() == list(range(25, 50))
    np.testing.assert_allclose(level[25:50], 20 * np.log10(5000 / 32768), atol=1e-4)
    assert (level[50:] == -120).all()


def test_long_digital_silence_costs_nothing_and_makes_the_detector_forget():
    detector = Loudness()
    stream = ActivityStream(detector)
    stream.push(np.zeros(512 * 1000, np.int16))
    stream.push(np.full(512, 900, np.int16))
    assert detector.heard == 1
    assert detector.resets > 900


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5))
def test_chunks_of_any_length_give_the_same(sizes):
    samples = (np.random.default_rng(3).normal(0, 600, 20_000)).astype(np.int16)
    for one, other in zip(activity_of(samples, 31), activity_of(samples, 31, sizes), strict=True):
        np.testing.assert_array_equal(one, other)


def test_probabilities_are_averaged_over_the_instant():
    # chunks of 32 ms, instants of 40 ms: the second instant has 24 ms of the second chunk and 16 ms of the third
    np.testing.assert_allclose(resample_to_instants(np.array([0.0, 1.0, 0.0]), 2), [0.2, 0.6], atol=1e-6)


@pytest.mark.parametrize(
    ("activity", "spans"),
    [
        ([], []),
        ([0] * 10, []),
        ([0] * 5 + [0.9] * 10 + [0] * 10, [(0.2, 0.6)]),
        ([0.9] * 10 + [0.4] * 5 + [0.2] * 10, [(0, 0.6)]),  # between the thresholds it goes on
        ([0.4] * 10, []),  # but does not begin
        ([0.9] * 10 + [0] * 5 + [0.9] * 10, [(0, 1.0)]),  # a pause of 0.2 s
        ([0.9] * 10 + [0] * 6 + [0.9] * 10, [(0, 0.4), (0.64, 1.04)]),
        ([0] * 5 + [0.9] * 3 + [0] * 5, []),  # a click
    ],
)
def test_spans(activity, spans):
    found = speech_spans(np.array(activity, np.float32), ActivityOptions(on=0.5, off=0.35, shortest_speech=0.16, longest_pause=0.2))
    np.testing.assert_allclose(np.array([(s.start, s.end) for s in found]).reshape(-1, 2), np.array(spans).reshape(-1, 2))


@given(st.lists(st.booleans(), max_size=60))
def test_runs_cover_what_is_true(mask):
    covered = np.zeros(len(mask), bool)
    for span in runs(np.array(mask, bool)):
        assert isinstance(span, Span)
        assert span.end > span.start
        covered[round(span.start * 25) : round(span.end * 25)] = True
    assert covered.tolist() == mask


@given(st.lists(st.floats(0, 1, width=32), max_size=80), st.integers(0, 50))
def test_shifting_activity_shifts_the_spans(activity, shift):
    before = speech_spans(np.array(activity, np.float32))
    after = speech_spans(np.concatenate([np.zeros(shift, np.float32), np.array(activity, np.float32)]))
    assert [(round(s.start * 25) + shift, round(s.end * 25) + shift) for s in before] == [(round(s.start * 25), round(s.end * 25)) for s in after]


ALONE = """
import os
from asd_core.speech.activity import load_voice_detector
detector = load_voice_detector()
before = len(os.listdir("/proc/self/task"))
detector.process_chunk(bytes(1024))
print(len(os.listdir("/proc/self/task")) - before, os.environ.get("OMP_THREAD_LIMIT"))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted where /proc lists them")
def test_the_voice_detector_starts_no_threads_and_leaves_the_environment_as_it_was():
    for environment in ({}, {"OMP_THREAD_LIMIT": "7"}):
        told = subprocess.run(
            [sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parents[3]
        )
        assert told.stdout.split() == ["0", environment.get("OMP_THREAD_LIMIT", "None")]
