"""A few lines that make tracks, scores and sound for the tests of turns."""

import numpy as np

from asd_core.records import Scores, Sound, Span, Track
from asd_core.timeline import union


def track(name, first, length, *, still=False, shot=0):
    return Track(name, shot, first, np.zeros((length, 4), np.float32), np.ones(length, bool), still)


def sound(instants, *spoken, activity=0.97):
    """Sound in which somebody speaks over the given (first, end) instants."""
    heard = np.full(instants, 0.01, np.float32)
    for first, end in spoken:
        heard[first:end] = activity
    spans = tuple(union(Span(first / 25, end / 25) for first, end in spoken))
    return Sound(1, np.zeros((4 * instants, 13), np.float32), heard, np.full(instants, -30, np.float32), spans, ())


def scores(*probabilities):
    arrays = tuple(np.asarray(p, np.float32) for p in probabilities)
    logits = tuple((np.log(np.clip(p, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(p, 1e-6, 1 - 1e-6))).astype(np.float32) for p in arrays)
    return Scores(logits, arrays)


def steps(*pieces):
    """(length, value) pairs as one array."""
    return np.concatenate([np.full(length, value) for length, value in pieces])
